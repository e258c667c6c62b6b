"""How a process was started: what torchrun says, the shares of a batch, and who speaks for a machine."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stylize.errors import AnotherProcessFailed, InputError
from stylize.launch import Launch, launched
from tests.training_helpers import TORCHRUN


def test_torchrun_says_which_process_this_is():
    assert launched(TORCHRUN) == Launch(rank=1, size=4, local_rank=1, local_size=2)
    assert not launched(TORCHRUN).first
    assert launched(TORCHRUN | {"RANK": "0", "LOCAL_RANK": "0"}).first


@pytest.mark.parametrize("environment", [{}, {"WORLD_SIZE": ""}, {"WORLD_SIZE": "1"}, TORCHRUN | {"WORLD_SIZE": "1"}])
def test_one_process_is_alone(environment):
    launch = launched(environment)
    assert launch == Launch() and launch.first and not launch.several
    assert list(launch.items(5)) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"WORLD_SIZE": "2"}, "WORLD_SIZE is 2, but RANK, LOCAL_RANK, LOCAL_WORLD_SIZE, MASTER_ADDR, MASTER_PORT is"),
        (TORCHRUN | {"MASTER_ADDR": ""}, "WORLD_SIZE is 4, but MASTER_ADDR is not set; .*torchrun --nproc-per-node 4"),
        (TORCHRUN | {"WORLD_SIZE": "two"}, "WORLD_SIZE is 'two' in the environment; a whole number of 1 or more"),
        (TORCHRUN | {"WORLD_SIZE": "0"}, "WORLD_SIZE is '0'"),
        (TORCHRUN | {"RANK": "-1"}, "RANK is '-1' in the environment"),
        (TORCHRUN | {"RANK": "4"}, "RANK is 4 of 4"),
        (TORCHRUN | {"LOCAL_RANK": "2"}, "LOCAL_RANK 2 of 2; ranks count from 0"),
    ],
)
def test_an_environment_that_contradicts_itself(environment, message):
    with pytest.raises(InputError, match=message):
        launched(environment)


@given(size=st.integers(1, 9), share=st.integers(1, 7))
def test_the_shares_are_the_batch(size, share):
    shares = [Launch(rank, size).items(size * share) for rank in range(size)]
    assert [item for one in shares for item in one] == list(range(size * share))
    assert {len(one) for one in shares} == {share}


@pytest.mark.parametrize(
    ("batch_size", "size", "message"),
    [
        (5, 2, "batches of 5 photos given to 2 processes; .* give --batch-size 4 or 6, or"),
        (1, 2, "batches of 1 photo given to 2 processes; .* give --batch-size 2, or start another number"),
        (3, 4, "batches of 3 photos given to 4 processes; .* give --batch-size 4, or"),
    ],
)
def test_a_batch_that_cannot_be_shared_out(batch_size, size, message):
    with pytest.raises(InputError, match=message):
        Launch(0, size).items(batch_size)


def test_of_what_all_were_given_one_process_of_each_machine_speaks():
    for launch, expected in ((Launch(2, 4, 0, 2), InputError), (Launch(3, 4, 1, 2), AnotherProcessFailed)):
        with pytest.raises(expected), launch.alike():
            raise InputError("wrong")
