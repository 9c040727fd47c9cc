"""The slow program of linear regressions: least squares on whole matrices, dummies among their columns."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Dense:
    """Least squares of y (n,) on columns (n,) or (n, K), which may be collinear; weights (n,) have any scale.

    slopes (K,), e (n,) residuals, bread (K, K) = (X'WX)^-, rank; rows are as they stand after the root of weights.
    """

    def __init__(self, y: Any, *columns: Any, weights: Any = 1.0) -> None:
        root = np.sqrt(np.broadcast_to(weights / np.mean(weights), len(y)))
        self.x = np.column_stack(columns).astype(np.float64) * root[:, None]
        self.y = np.asarray(y, dtype=np.float64) * root
        self.bread = np.linalg.pinv(self.x.T @ self.x, rcond=1e-11, hermitian=True)
        self.slopes = self.bread @ self.x.T @ self.y
        self.e = self.y - self.x @ self.slopes
        self.rank = int(np.linalg.matrix_rank(self.x))

    def parts(self, clusters: Any) -> Floats:
        """What each cluster adds to the slopes' error, (G, K)."""
        codes = np.unique(np.asarray(clusters), return_inverse=True)[1]
        sums = np.zeros((codes.max() + 1, self.x.shape[1]))
        np.add.at(sums, codes, self.x * self.e[:, None])
        return sums @ self.bread

    def covariance(self, error: str, clusters: Any = None, counted: int | None = None) -> Floats:
        """iid and hc1 over n - rank; of clusters with G/(G - 1) (n - 1)/(n - counted), all columns by default."""
        n, free = len(self.e), len(self.e) - self.rank
        if error == "iid":
            return np.asarray(self.bread * (self.e @ self.e) / free)
        parts = self.parts(np.arange(n) if error == "hc1" else clusters)
        g = len(parts)
        factor = n / free if error == "hc1" else g / (g - 1) * (n - 1) / (n - (counted or self.rank))
        return np.asarray(factor * parts.T @ parts)

    def errors(self, error: str, clusters: Any = None, counted: int | None = None) -> Floats:
        """Standard errors (K,)."""
        return np.asarray(np.sqrt(np.diag(self.covariance(error, clusters, counted))))
