"""Which family takes a dispatch: the cheapest of those that match, as far as cost models can be compared."""

import pytest
from nvidia_helpers import contraction_cases, harness

from lumir.diagnostics import UnsupportedError
from lumir.kernels import families
from lumir.kernels.nvidia.map import MapSchedule


class Fake:
    symbolic = True

    def __init__(self, name, *costs, matches=True, illegal=(), contested=False):
        self.name, self.costs, self.matches, self.illegal = name, costs, matches, illegal
        self.contested = lambda dispatch: contested
        self.asked = False

    def match(self, dispatch, target):
        return self.matches

    def space(self, dispatch, target):
        self.asked = True
        return [MapSchedule(block=32 * n) for n in range(1, len(self.costs) + 1)]

    def cost(self, dispatch, schedule, target):
        return self.costs[schedule.block // 32 - 1]

    def legal(self, dispatch, schedule, target):
        return ["too small"] if schedule.block // 32 in self.illegal else []


def chosen(monkeypatch, *fakes):
    monkeypatch.setattr(families, "families", lambda target: list(fakes))
    with harness.kernel_context():
        _module, dispatch = harness.lowered(contraction_cases.linear(40, 24, 16, "float16"))
        family, schedule = families.choose(dispatch, harness.target_named("sm_90a"))
        return family.name, vars(schedule)["block"] // 32


def test_the_cheapest_family_takes_it(monkeypatch):
    assert chosen(monkeypatch, Fake("a", 3.0, 2.0), Fake("b", 1.0), Fake("general", 0.1)) == ("b", 1)
    assert chosen(monkeypatch, Fake("a", 3.0, 2.0, matches=False), Fake("b", 9.0, 4.0), Fake("general", 0.1)) == (
        "b",
        2,
    )


def test_the_more_specific_one_takes_it_where_the_models_say_the_same(monkeypatch):
    assert chosen(monkeypatch, Fake("a", 1.0), Fake("b", 0.95), Fake("general", 0.1)) == ("a", 1)


def test_what_is_not_legal_is_passed_over(monkeypatch):
    assert chosen(monkeypatch, Fake("a", 1.0, 5.0, illegal=[1]), Fake("b", 3.0), Fake("general", 0.1)) == ("b", 1)


def test_the_general_family_is_asked_only_where_no_other_can(monkeypatch):
    general = Fake("general", 7.0)
    assert chosen(monkeypatch, Fake("a", 9.0), general) == ("a", 1) and not general.asked
    assert chosen(monkeypatch, Fake("a", 9.0, illegal=[1]), general) == ("general", 1)


def test_the_general_family_competes_for_what_is_contested(monkeypatch):
    assert chosen(monkeypatch, Fake("a", 9.0, contested=True), Fake("general", 0.1)) == ("general", 1)
    assert chosen(monkeypatch, Fake("a", 9.0, contested=True), Fake("b", 1.0), Fake("general", 0.1)) == ("b", 1)
    assert chosen(monkeypatch, Fake("a", 9.0, contested=True), Fake("general", 8.5)) == ("a", 1)


def test_without_a_legal_schedule_each_says_why(monkeypatch):
    with pytest.raises(UnsupportedError, match="no kernel of sm_90a") as error:
        chosen(monkeypatch, Fake("a", 1.0, illegal=[1]), Fake("general", 1.0, illegal=[1]))
    assert error.value.values == {"of family a": "too small", "of family general": "too small"}
