"""How many runs train together is measured so that other processes on the machine do not decide it."""

from __future__ import annotations

import math
import time

import pytest
import torch

from regplug.studies.stacks.stack_size import best_size, candidate_sizes, clock_for, even_stacks, least_times

CPU = torch.device("cpu")


class Machine:
    """A clock and trials that advance it: each takes its own time, and more while the machine is busy.

    Args:
        costs: Stack size -> seconds of one trial on an idle machine.
        busy: Numbers of the trials, in order, that another process slows down tenfold.
    """

    def __init__(self, costs, busy=()):
        self.now, self.count, self.costs, self.busy = 0.0, 0, costs, frozenset(busy)

    def trials(self):
        return {size: lambda cost=cost: self._run(cost) for size, cost in self.costs.items()}

    def _run(self, cost):
        self.now += cost * (10 if self.count in self.busy else 1)
        self.count += 1
        return True

    def measure(self):
        return least_times(self.trials(), lambda: self.now)


def of_each_run(least):
    return {size: value / size for size, value in least.items()}


def test_the_least_time_is_that_of_an_idle_machine_though_most_turns_were_slowed():
    machine = Machine({1: 0.001, 9: 0.002}, busy=set(range(16)) - {0, 13})
    least = machine.measure()
    assert least == pytest.approx({1: 0.001, 9: 0.002})
    assert best_size(of_each_run(least)) == 9


def test_a_stack_that_is_slowed_in_its_first_two_turns_is_still_chosen():
    """Two turns in a row decided it before: nine runs were then trained in stacks of one."""
    assert best_size(of_each_run(Machine({1: 0.001, 9: 0.002}, busy={1, 3}).measure())) == 9


def test_trials_take_turns():
    order = []
    trials = {size: lambda size=size: not order.append(size) for size in (1, 8)}
    least_times(trials, lambda: 0.0)
    assert order == [1, 8] * (len(order) // 2)
    assert len(order) >= 2 * 5


def test_slow_trials_are_timed_twice_and_no_more():
    machine = Machine({1: 0.4, 8: 2.0})
    machine.measure()
    assert machine.count == 4


def test_a_trial_that_does_not_run_is_not_called_again_and_never_the_best():
    calls = []
    trials = {1: lambda: bool(calls.append(1)), 8: lambda: True}
    least = least_times(trials, iter(range(1000)).__next__)
    assert calls == [1]
    assert least[1] == math.inf
    assert best_size(least) == 8


def test_a_stack_must_be_clearly_faster_than_a_single_run():
    assert best_size({1: 1.0, 8: 0.9}) == 1
    assert best_size({1: 1.0, 8: 0.8}) == 8
    assert best_size({1: 1.0, 8: 0.5, 32: 0.52, 128: 0.7}) == 32


def test_one_thread_is_measured_in_cpu_time_and_several_in_wall_time():
    assert clock_for(1, CPU) is time.process_time
    assert clock_for(2, CPU) is time.perf_counter
    assert clock_for(1, torch.device("cuda")) is time.perf_counter


def test_stacks_are_nearly_equal_and_as_few_as_possible():
    assert even_stacks(9, 1) == (1,) * 9
    assert even_stacks(9, 8) == (5, 4)
    assert even_stacks(9, 128) == (9,)
    assert even_stacks(10, 4) == (4, 3, 3)


def test_no_size_is_larger_than_what_fits():
    assert candidate_sizes(9) == [1, 8, 9]
    assert candidate_sizes(1) == [1]
    assert candidate_sizes(200) == [1, 8, 32, 128, 200]
