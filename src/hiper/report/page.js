"use strict";
(() => {
  const tip = document.querySelector(".tip");
  const written = (value, share) =>
    share ? (100 * value).toFixed(1) + " %" : Number(value.toPrecision(4)).toLocaleString("en");

  // The step nearest to the pointer, and what every series has there.
  function read(figure, clientX) {
    const data = figure.hover ??= JSON.parse(figure.dataset.hover);
    const svg = figure.querySelector(".drawn");
    const box = svg.getBoundingClientRect();
    const scale = svg.viewBox.baseVal.width / box.width;
    const share = ((clientX - box.left) * scale - data.start) / (data.stop - data.start);
    const wanted = data.low + share * (data.high - data.low);
    const steps = data.series.flatMap((series) => series.x);
    const step = steps.reduce((best, x) => (Math.abs(x - wanted) < Math.abs(best - wanted) ? x : best), Infinity);
    const place = data.start + ((step - data.low) / (data.high - data.low)) * (data.stop - data.start);
    return { data, svg, step, place, left: box.left + place / scale, top: box.top };
  }

  function show(figure, clientX) {
    const { data, svg, step, place, left, top } = read(figure, clientX);
    const cross = svg.querySelector(".cross");
    cross.setAttribute("x1", place);
    cross.setAttribute("x2", place);
    cross.style.visibility = "visible";
    const head = document.createElement("b");
    head.textContent = data.over + " " + Number(step.toFixed(1)).toLocaleString("en");
    tip.replaceChildren(head);
    for (const series of data.series) {
      const value = series.y[series.x.indexOf(step)];
      if (value === undefined || value === null) continue;
      const row = document.createElement("div");
      row.textContent = series.name + "  " + written(value, data.share);
      tip.append(row);
    }
    tip.hidden = false;
    const x = Math.min(left + 12, document.documentElement.clientWidth - tip.offsetWidth - 8);
    tip.style.left = Math.max(4, x) + window.scrollX + "px";
    tip.style.top = top + window.scrollY + 4 + "px";
  }

  function hide(figure) {
    tip.hidden = true;
    figure.querySelector(".cross").style.visibility = "hidden";
  }

  for (const figure of document.querySelectorAll("figure.chart")) {
    figure.addEventListener("pointermove", (event) => show(figure, event.clientX));
    figure.addEventListener("pointerdown", (event) => show(figure, event.clientX));
    figure.addEventListener("pointerleave", () => hide(figure));
  }

  const form = document.querySelector(".filters");
  if (!form) return;
  const episodes = [...document.querySelectorAll(".episode")];
  function filter() {
    const { outcome, task, source, invalid, written: asWritten } = form.elements;
    for (const episode of episodes) {
      const { dataset } = episode;
      episode.hidden = Boolean(
        (outcome.value && dataset.outcome !== outcome.value) ||
        (task.value && dataset.task !== task.value) ||
        (source.value && dataset.source !== source.value) ||
        (invalid.checked && dataset.invalid === "0")
      );
    }
    document.body.classList.toggle("show-written", asWritten.checked);
    const shown = episodes.filter((episode) => !episode.hidden).length;
    form.querySelector("output").textContent = shown + " of " + episodes.length + " shown";
  }
  form.hidden = false;
  form.addEventListener("input", filter);
  filter();
})();
