"""Each estimator against its slow twin, and against itself where the batch is only laid out in another way."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

import hiper.credit
from tests.credit.samples import BY_EPISODE, ESTIMATORS, Arrays, Sample, random_sample, samples
from tests.credit.slow import TWINS

every_estimator = pytest.mark.parametrize("name", ESTIMATORS)
few = settings(max_examples=25)


def assert_same(actual: Arrays, expected: Arrays) -> None:
    assert actual.keys() == expected.keys()
    for name, array in expected.items():
        assert_allclose(actual[name], array, rtol=1e-10, atol=1e-11, err_msg=name)


def test_no_estimator_is_forgotten() -> None:
    functions = {name for name in hiper.credit.__all__ if name.islower()}
    assert {estimator.function for estimator in ESTIMATORS.values()} == functions
    assert TWINS.keys() | {"gae", "hae"} == ESTIMATORS.keys()  # those two: test_gae, test_hae_golden


@pytest.mark.parametrize("name", TWINS)
@few
@given(sample=samples())
def test_slow_twin(name: str, sample: Sample) -> None:
    assert_same(ESTIMATORS[name](ESTIMATORS[name].hidden(sample)), TWINS[name](sample))


@pytest.mark.parametrize("name", [name for name in TWINS if "sibling" in name or "adaptive" in name])
@few
@given(sample=samples(least=1))
def test_slow_twin_with_groups_of_one(name: str, sample: Sample) -> None:
    assert_same(ESTIMATORS[name](ESTIMATORS[name].hidden(sample)), TWINS[name](sample))


@every_estimator
@few
@given(sample=samples())
def test_what_must_not_be_read_may_be_nan(name: str, sample: Sample) -> None:
    one, other = ESTIMATORS[name](sample), ESTIMATORS[name](ESTIMATORS[name].hidden(sample))
    for array in one:
        assert (one[array] == other[array]).all(), array


@every_estimator
@few
@given(sample=samples(), random=st.randoms(use_true_random=False))
def test_order_of_episodes_changes_nothing(name: str, sample: Sample, random: np.random.Generator) -> None:
    order = list(range(len(sample.group_B)))
    random.shuffle(order)
    moved = Sample.of({array: x[order] for array, x in sample.arrays().items()})
    straight = ESTIMATORS[name](sample)
    assert_same(ESTIMATORS[name](moved), {array: x[order] for array, x in straight.items()})


@every_estimator
@few
@given(sample=samples(), extra=st.integers(1, 3))
def test_padding_changes_nothing_and_comes_back_as_0(name: str, sample: Sample, extra: int) -> None:
    fill = {"turn_BL": -1, "switches_BT": True, "state_BT": 0, "subgoal_BT": 0}
    wide = Sample.of(
        {
            array: np.pad(x, ((0, 0), (0, extra)), constant_values=fill.get(array, 9)) if x.ndim == 2 else x
            for array, x in sample.arrays().items()
        }
    )
    narrow_out, wide_out = ESTIMATORS[name](sample), ESTIMATORS[name](wide)
    for array, x in narrow_out.items():
        if x.ndim == 1:
            assert (wide_out[array] == x).all(), array
            continue
        assert (wide_out[array][:, : x.shape[1]] == x).all(), array
        assert (wide_out[array][:, x.shape[1] :] == 0).all(), array


@pytest.mark.parametrize("name", BY_EPISODE)
@few
@given(sample=samples(least=1))
def test_an_episode_alone_is_as_in_a_batch(name: str, sample: Sample) -> None:
    together = ESTIMATORS[name](sample)
    for b in range(len(sample.group_B)):
        alone = ESTIMATORS[name](Sample.of({array: x[b : b + 1] for array, x in sample.arrays().items()}))
        for array, x in together.items():
            assert (alone[array][0] == x[b]).all(), array


@every_estimator
def test_no_episodes_is_not_an_error(name: str) -> None:
    sample = Sample.of({array: x[:0] for array, x in random_sample(0, [2]).arrays().items()})
    for array, x in ESTIMATORS[name](sample).items():
        assert len(x) == 0, array
