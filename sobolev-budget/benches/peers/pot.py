"""Transport costs by POT, to which the cost of a nodes-only fit is compared: the former equals the latter.

    pip install POT==0.9.7
    python pot.py POINTS.csv NODES.csv P

Both files hold a point a line, coordinates separated by commas, no header. The ground cost is |x - y|^P, the points
weigh the same. Prints one JSON object: `projected` is the cost of transport to the push-forward of the points by their
nearest nodes, `uniform` that to equal weights on the nodes, `nearest` the mean of |x - nearest node|^P, without
transport. POT's network simplex takes the full matrix of costs: about 10^4 points x 10^2 nodes are a matter of seconds.
"""
import json
import sys

import numpy as np
import ot

points, nodes = (np.loadtxt(name, delimiter=",", ndmin=2) for name in sys.argv[1:3])
power = float(sys.argv[3])
cost = np.linalg.norm(points[:, None] - nodes[None], axis=2) ** power
mass = np.full(len(points), 1 / len(points))
pushed = np.bincount(cost.argmin(axis=1), weights=mass, minlength=len(nodes))


def transport(weights):
    value, log = ot.emd2(mass, weights, cost, numItermax=10**8, log=True)
    assert log["warning"] is None, log["warning"]
    return float(value)


print(json.dumps(dict(
    peer="POT", version=ot.__version__, p=power, points=len(points), nodes=len(nodes), projected=transport(pushed),
    uniform=transport(np.full(len(nodes), 1 / len(nodes))), nearest=float(mass @ cost.min(axis=1)))))
