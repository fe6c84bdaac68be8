"""Fits x.npy, y.npy with numpy, scikit-learn and diffprivlib, and prints times and coefficients as JSON."""

import json
import sys
import time
import warnings

import numpy as np

warnings.filterwarnings("ignore")
x, y = np.load(sys.argv[1]), np.load(sys.argv[2])
answers = []


def measure(method, fit):
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        coefficients = fit()
        seconds.append(time.perf_counter() - start)
    answers.append({"method": method, "seconds": min(seconds), "coefficients": list(map(float, coefficients))})


def cholesky():
    return np.linalg.solve(x.T @ x, x.T @ y)


def qr():
    q, r = np.linalg.qr(x)
    return np.linalg.solve(r, q.T @ y)


def leverages():
    # The Cholesky solution, and what a filter needs besides: leverages and residuals.
    factor = np.linalg.cholesky(x.T @ x)
    beta = np.linalg.solve(factor.T, np.linalg.solve(factor, x.T @ y))
    white = np.linalg.solve(factor, x.T)
    (white * white).sum(axis=0), y - x @ beta
    return beta


measure("numpy, normal equations", cholesky)
measure("numpy, normal equations, leverages and residuals", leverages)
measure("numpy, QR", qr)
try:
    from sklearn.linear_model import LinearRegression

    measure("scikit-learn", lambda: LinearRegression(fit_intercept=False).fit(x, y).coef_)
    from diffprivlib.models import LinearRegression as Private

    bound = float(np.ceil(np.abs(y).max()))
    for epsilon in map(float, sys.argv[3:]):
        measure(
            f"diffprivlib, epsilon {epsilon:g}",
            lambda: Private(epsilon=epsilon, bounds_X=(-5, 5), bounds_y=(-bound, bound), fit_intercept=False).fit(x, y).coef_,
        )
except ImportError as error:
    print(error, file=sys.stderr)
print(json.dumps(answers))
