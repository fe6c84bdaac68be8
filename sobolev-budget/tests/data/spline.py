"""Reference solutions of the step that fits a curve to a fixed assignment, for the order-k seminorm on [0, 1].

    pip install numpy==2.4.6 scipy==1.17.1 mpmath==1.4.1
    python spline.py spline.json

With Python 3.11. The M nodes f_i stand at i h, h = 1/(M-1). Point x_j of weight w_j (they sum to 1) is held by the fixed
position s_j, where the curve is B_j f, linear between nodes. With the forward differences (D^k f)_i = h^-k Delta^k f_i,
i = 0..M-1-k, the squared norm is C^2 = sum_i |(D^k f)_i|^2 / (M-k) = tr f'Af, and the step is

    minimise  sum_j w_j |x_j - B_j f|^2  subject to  tr f'Af <= l^2,

solved by (H + lambda A) f = B'WX with H = B'WB, lambda >= 0 and lambda (l - C) = 0.

The file holds the problem (`points`, `weights`, `positions`, `nodes`) and two lists. In `budgeted` the `budget` l is given
and `lambda` found, zero where the budget is not needed. In `penalised` `lambda` is given. `objective` is the data term,
`norm` is C, `f` has a node a row. All come from a dense solve with 50 digits and are the nearest doubles. The numbers are
doubles exactly, so the problem is the same for every reader.

Every budgeted case is computed twice more, and this program fails if the results are apart: by a dense solve in doubles
with scipy's root finder for lambda, and by SLSQP, which sees the constraint only. `worst` states the largest differences.
"""
import json
import sys

import mpmath as mp
import numpy as np
import scipy.linalg
import scipy.optimize

mp.mp.dps = 50
NODES = 9
# Both ends, a node in the interior (.375), a cell without points (.75 to .875), a place held twice; H is regular.
POSITIONS = [0.0, 0.0625, 0.171875, 0.203125, 0.3125, 0.375, 0.453125, 0.53125, 0.53125, 0.703125, 0.890625, 1.0]
POINTS = [[-1.0, 0.25], [-0.75, 0.5], [-0.5, 0.4375], [-0.625, 0.125], [-0.25, -0.125], [-0.125, -0.3125],
          [0.125, -0.25], [0.25, 0.0625], [0.375, -0.1875], [0.625, 0.375], [0.9375, 0.3125], [1.125, -0.125]]
WEIGHTS = [n / 64 for n in (3, 6, 5, 7, 4, 8, 6, 5, 3, 7, 6, 4)]
# Of the norm that the best fit without a budget has; the last is not binding.
FRACTIONS = [0.0625, 0.375, 0.875, 1.25]
# Of log lambda.
BRACKET = (-40, 4)
PENALTIES = [1e-6, 1e-3, 1.0, 1e6]


def interpolation():
    rows = np.zeros((len(POSITIONS), NODES))
    for row, s in zip(rows, POSITIONS):
        left = min(int(s * (NODES - 1)), NODES - 2)
        row[left + 1] = s * (NODES - 1) - left
        row[left] = 1 - row[left + 1]
    return rows


def penalty(order):
    differences = np.diff(np.eye(NODES), n=order, axis=0) * float(NODES - 1) ** order
    # Without the weight 1/(M-k) the entries are whole numbers, exact in doubles.
    return mp.matrix((differences.T @ differences).tolist()) / (NODES - order)


def doubles(matrix):
    return np.array(matrix.tolist(), dtype=float)


B, W, X = mp.matrix(interpolation().tolist()), mp.diag(WEIGHTS), mp.matrix(POINTS)
H, RIGHT = B.T * W * B, B.T * W * X


def curve(a, multiplier):
    """The solution of (H + multiplier A) f = B'WX, its data term and its squared norm, to 50 digits."""
    f = mp.matrix(NODES, X.cols)
    for column in range(X.cols):
        f[:, column] = mp.lu_solve(H + multiplier * a, RIGHT[:, column])
    residual = X - B * f
    return f, trace(residual.T * W * residual), trace(f.T * a * f)


def trace(matrix):
    return sum(matrix[i, i] for i in range(matrix.rows))


def multiplier_of(a, budget):
    """The lambda with C = budget, by bisection in its logarithm and then by secants."""
    def excess(t):
        return mp.log(curve(a, mp.exp(t))[2]) - 2 * mp.log(budget)

    low, high = map(mp.mpf, BRACKET)
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (middle, high) if excess(middle) > 0 else (low, middle)
    return mp.exp(mp.findroot(excess, (low, high), solver="secant"))


def by_doubles(a, budget):
    def solve(t):
        return scipy.linalg.solve(doubles(H) + np.exp(t) * doubles(a), doubles(RIGHT), assume_a="pos")

    def excess(t):
        f = solve(t)
        return np.log(np.sum(f * (doubles(a) @ f))) - 2 * np.log(budget)

    if excess(-np.inf) <= 0:
        return solve(-np.inf), 0.0
    root = scipy.optimize.brentq(excess, *BRACKET, xtol=1e-14, rtol=1e-14)
    return solve(root), np.exp(root)


def by_constraint(a, budget):
    """SLSQP in the coordinates z = L'f, LL' = H, where the data term is |z - z0|^2 and a constant."""
    lower = scipy.linalg.cholesky(doubles(H), lower=True)
    z0 = scipy.linalg.solve_triangular(lower, doubles(RIGHT), lower=True)
    half = scipy.linalg.solve_triangular(lower, doubles(a), lower=True)
    metric = scipy.linalg.solve_triangular(lower, half.T, lower=True) / budget**2
    shape = z0.shape
    constraint = dict(
        type="ineq", fun=lambda z: 1 - np.sum(z.reshape(shape) * (metric @ z.reshape(shape))),
        jac=lambda z: -2 * (metric @ z.reshape(shape)).ravel())
    result = scipy.optimize.minimize(
        lambda z: np.sum((z - z0.ravel()) ** 2), np.zeros(z0.size), jac=lambda z: 2 * (z - z0.ravel()), method="SLSQP",
        constraints=[constraint], options=dict(maxiter=2000, ftol=1e-16))
    return scipy.linalg.solve_triangular(lower.T, result.x.reshape(shape), lower=False)


def case(order, multiplier, solution, **extra):
    f, data, square = solution
    return dict(order=order, **extra, **{"lambda": float(multiplier)}, objective=float(data), norm=float(mp.sqrt(square)),
                f=doubles(f).tolist())


assert sum(WEIGHTS) == 1
budgeted, penalised, worst = [], [], dict(doubles_f=0.0, doubles_lambda=0.0, slsqp_f=0.0)


def compare(what, difference, limit):
    assert difference <= limit, f"{what}: {difference}"
    worst[what] = max(worst[what], float(difference))


for order in (1, 2, 3):
    a = penalty(order)
    free = mp.sqrt(curve(a, 0)[2])
    for fraction in FRACTIONS:
        budget = float(f"{float(free) * fraction:.6g}")
        multiplier = multiplier_of(a, budget) if budget < free else mp.mpf(0)
        solution = curve(a, multiplier)
        assert multiplier == 0 or abs(mp.sqrt(solution[2]) / budget - 1) < mp.mpf("1e-30")
        budgeted.append(case(order, multiplier, solution, budget=budget))
        f, again = doubles(solution[0]), by_doubles(a, budget)
        compare("doubles_f", np.abs(again[0] - f).max(), 1e-12)
        compare("doubles_lambda", abs(again[1] / float(multiplier) - 1) if multiplier else again[1], 1e-12)
        compare("slsqp_f", np.abs(by_constraint(a, budget) - f).max(), 1e-7)
    penalised += [case(order, value, curve(a, mp.mpf(value))) for value in PENALTIES]

fields = dict(nodes=NODES, points=POINTS, weights=WEIGHTS, positions=POSITIONS, worst=worst)
parts = [f'"{name}": {json.dumps(value)}' for name, value in fields.items()]
for name, cases in dict(budgeted=budgeted, penalised=penalised).items():
    parts.append(f'"{name}": [\n  ' + ",\n  ".join(map(json.dumps, cases)) + "\n ]")
with open(sys.argv[1], "w") as out:
    out.write("{\n " + ",\n ".join(parts) + "\n}\n")
