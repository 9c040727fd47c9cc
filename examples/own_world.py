"""Your own world and your own estimator, each a function: how often does a t test of ours find an effect?"""

import numpy as np

import panelproof as pp


def draw(rng, units=40, periods=10, effect=0.5, serial=0.6):
    """One panel: half of the units are treated in the second half of the periods; errors are an AR(1)."""
    did = 1.0 * np.outer(np.arange(periods) >= periods // 2, np.arange(units) < units // 2)
    errors = rng.standard_normal((periods, units))
    for t in range(1, periods):
        errors[t] = serial * errors[t - 1] + np.sqrt(1 - serial**2) * errors[t]
    return {"y": rng.standard_normal(units) + effect * did + errors, "did": did}


def fit(y, did):
    """Each unit's change of means, treated less control, with t tests."""
    after, treated = did.any(axis=1), did.any(axis=0)
    change = y[after].mean(axis=0) - y[~after].mean(axis=0)
    mine, others = change[treated], change[~treated]
    se = np.sqrt(mine.var(ddof=1) / mine.size + others.var(ddof=1) / others.size)
    return mine.mean() - others.mean(), se, change.size - 2


study = pp.Study.from_functions(draw=draw, fit=fit, truth="effect", grid={"effect": [0.0, 0.25, 0.5, 1.0]})
diagnosis = pp.diagnose(pp.run(study))
print(diagnosis.table(rows="effect", measure="power"), diagnosis.table(rows="effect", measure="coverage"), sep="\n")
diagnosis.plot.power().savefig("power.pdf")
