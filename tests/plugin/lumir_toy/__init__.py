"""A complete extension: what lumir finds behind the entry point `toy`."""

from lumir_toy.dialect import Toy

dialects = (Toy,)
passes = {"toy-lower-square": "lumir_toy.lower_square:LowerSquare"}
lowerings = {"toy.square": "lumir_toy.lower_square:lower_square"}
