"""Weights of a late fusion, fitted on scores and labels."""

import numpy as np
from numpy.typing import NDArray

from schemas.arrays import Array

RIDGE = 1e-3  # separable labels would drive weights to infinity


def fit_weights(tables: Array, members: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Find the weights with which the sum of scores tells the labels best.

    Maximises the likelihood of the labels under softmax(sum over s of w_s x_s), a multinomial logistic regression with
    one number a score array (stacking: Wolpert 1992), no weight below 0. It is concave, so there is one maximum.

    Args:
        tables: (S, V, C), normalised alike.
        members: bool (V, C), the labels.

    Returns:
        float64 (S,), not negative, summing to 1; all equal when no array helps.
    """
    from scipy.optimize import minimize
    from scipy.special import log_softmax

    wanted = members / members.sum(1, keepdims=True)
    scale = np.maximum(tables.std(axis=(1, 2)), 1e-12)
    scaled = (tables / scale[:, None, None]).astype(np.float64)

    def loss(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        said = log_softmax(np.tensordot(weights, scaled, axes=1), axis=1)
        slope = np.einsum("svc,vc->s", scaled, np.exp(said) - wanted)
        return float(RIDGE / 2 * weights @ weights - (wanted * said).sum()), slope + RIDGE * weights

    found = minimize(
        loss,
        np.ones(len(tables)),
        jac=True,
        method="L-BFGS-B",
        bounds=[(0, None)] * len(tables),
        options={"ftol": 1e-14, "gtol": 1e-9},
    )
    weights = found.x / scale
    return np.asarray(weights / weights.sum()) if weights.any() else np.full(len(tables), 1 / len(tables))
