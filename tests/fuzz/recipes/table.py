"""The table of recipes: each adds a node, or a few, to a growing graph."""

from collections.abc import Callable

from tests.fuzz.grower import Grower

Recipe = Callable[[Grower, str], object]
RECIPES: dict[str, dict[str, Recipe]] = {}


def recipe(group: str, *names: str) -> Callable[[Recipe], Recipe]:
    """Register a function for these names in a group; it gets the graph and the name that was drawn."""

    def register(function: Recipe) -> Recipe:
        RECIPES.setdefault(group, {}).update(dict.fromkeys(names, function))
        return function

    return register
