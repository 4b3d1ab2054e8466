"""What a request costs, in instructions: no more than 5 % above tests/instructions/figures."""

import importlib.machinery
import importlib.util
import os

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
PATH = os.path.join(HERE, "../instructions/run")
loader = importlib.machinery.SourceFileLoader("instructions", PATH)
instructions = importlib.util.module_from_spec(importlib.util.spec_from_loader("instructions", loader))
loader.exec_module(instructions)

MADE_BY, FIGURES = instructions.read_figures()


@pytest.fixture(scope="module")
def counted():
    if instructions.compiler() != MADE_BY:
        pytest.skip(f"the figures were made by {MADE_BY}, this by {instructions.compiler()}")
    return instructions.measure()


@pytest.mark.parametrize("name", instructions.SHAPES)
def test_a_request_costs_no_more_than_its_figure_allows(counted, name):
    line, has_grown = instructions.verdict(name, counted[name], FIGURES)
    assert not has_grown, f"{line}; if it has to be so: tests/instructions/run --update"


def test_every_figure_is_counted():
    assert set(FIGURES) == set(instructions.SHAPES)


@pytest.mark.parametrize("own, has_grown", [(1049, False), (1051, True)])
def test_five_percent_are_the_bound(own, has_grown):
    costs = {"own": own, "libc": 0, "libevent": 0, "other": 0}
    assert instructions.verdict("GET", costs, {"GET": 1000})[1] == has_grown
