"""What the reference parser of VNN-LIB 2.0 makes of the files in ../vnnlib: cases of linear conditions sum c v <= b.

Its disjunctive normal form of each assertion and its linear forms are used; the product over the assertions is taken here, because
`vnnlib.compat.transform` 1.0.2 joins assertions that are no single comparison by `or` instead of `and`.

Run in this folder with the package vnnlib 1.0.2: python vnnlib_reference.py
"""

import itertools
import json
import pathlib

import vnnlib

FOLDER = pathlib.Path(__file__).parent.parent / "vnnlib"


def flat(variable):
    """Kind and row-major index of a variable."""
    index = 0
    for position, size in zip(variable.indices, variable.shape):
        index = index * size + position
    return ("x" if variable.kind == vnnlib.SymbolKind.Input else "y") + str(index)


def condition(comparison):
    """A comparison as [{variable: coefficient}, bound], meaning sum <= bound."""
    left, right = comparison.lhs.to_linear_expr(), comparison.rhs.to_linear_expr()
    sign = 1.0 if isinstance(comparison, (vnnlib.LessThan, vnnlib.LessEqual)) else -1.0
    terms = {}
    for expression, factor in ((left, sign), (right, -sign)):
        for term in expression.terms:
            name = flat(term.var)
            terms[name] = terms.get(name, 0.0) + factor * term.coeff
    return [terms, sign * (right.constant - left.constant)]


reference = {}
for path in sorted(FOLDER.glob("*.vnnlib")):
    query = vnnlib.parse_query_file(str(path))
    forms = [assertion.expr.to_dnf() for assertion in query.assertions]
    reference[path.stem] = [
        [condition(comparison) for clause in clauses for comparison in clause]
        for clauses in itertools.product(*forms)
    ]
(FOLDER / "reference.json").write_text(json.dumps(reference).replace("]], [[", "]],\n[[") + "\n")
