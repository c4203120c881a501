"""Correlation matrices: what is one, its Cholesky factor, and what follows for a sum.

Nothing here calls BLAS or LAPACK, whose rounding depends on the processor: what the tasks draw from a factor
must not depend on which worker runs the job.
"""

import math
from typing import Final

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]

SMALLEST_PIVOT: Final = 1e-12
"""Share of a variable's variance that the ones before it must leave unexplained."""

_ROUNDING: Final = 1e-9


def checked(rows: list[list[float]], size: int) -> Matrix:
    """``rows`` as a correlation matrix of ``size`` variables.

    Raises ValueError that says what is wrong, also when it is not positive definite.
    """
    if len(rows) != size or any(len(row) != size for row in rows):
        raise ValueError(f"must be a matrix of {size} rows and {size} columns, as there are positions")
    matrix = np.array(rows, dtype=np.float64)
    if np.abs(np.diagonal(matrix) - 1).max() > _ROUNDING:
        raise ValueError("must have 1 along its diagonal")
    if np.abs(matrix).max() > 1 + _ROUNDING:
        raise ValueError("must lie between -1 and 1")
    if np.abs(matrix - matrix.T).max() > _ROUNDING:
        raise ValueError("must be symmetric")
    cholesky(matrix)
    return matrix


def cholesky(matrix: Matrix) -> Matrix:
    """Lower triangular L with L·Lᵀ = ``matrix``, column by column (Golub and Van Loan 2013, 4.2.5).

    Raises ValueError when it is not positive definite.
    """
    rest, factor = matrix.copy(), np.zeros_like(matrix)
    for column in range(len(matrix)):
        pivot = rest[column, column]
        if pivot <= SMALLEST_PIVOT:
            raise ValueError(
                f"must be positive definite: those before row {column + 1} fix or contradict its variable"
            )
        below = rest[column:, column] / math.sqrt(pivot)
        factor[column:, column] = below
        rest[column:, column:] -= below[:, None] * below
    return factor


def loadings(factor: Matrix, amounts: Matrix) -> Matrix:
    """Lᵀa: how much ``amounts``·L·z moves with each of the independent z."""
    return np.array([math.fsum(column) for column in (factor * amounts[:, None]).T])


def variance(correlations: Matrix, amounts: Matrix) -> float:
    """aᵀCa: variance of the sum of variables with standard deviations ``amounts``."""
    return max(0.0, math.fsum((amounts[:, None] * correlations * amounts).ravel()))
