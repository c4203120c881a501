"""A convex quadratic program on Clarabel: least variance of weights between bounds.

Clarabel is an interior-point solver (Goulart and Chen 2024) on one thread. An active-set solver is quicker on
easy problems and may cycle for ever on hard ones, such as 200 assets that are all alike.
"""

from typing import Final, NamedTuple, Self

import clarabel
import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float64]

_TOLERANCES: Final = (1e-12, 1e-10, 1e-8)
"""Tried in turn: rounding sets the limit, and that depends on the problem."""

_ALMOST: Final = 1e-6

_RIDGE: Final = 1e-10
"""Added to every variance, as a share of the mean one: among mixes of one risk the most even wins."""


class Columns(NamedTuple):
    """A sparse matrix by columns, with the names that Clarabel reads from SciPy's.

    SciPy itself would cost every node 0.2 s at its start.
    """

    data: Vector
    indices: npt.NDArray[np.int64]
    indptr: npt.NDArray[np.int64]
    shape: tuple[int, ...]
    has_canonical_format: bool = True

    @classmethod
    def of(cls, matrix: Matrix) -> Self:
        """What is not 0, sorted by column and row."""
        columns, rows = np.nonzero(matrix.T)
        starts = np.searchsorted(columns, np.arange(matrix.shape[1] + 1))
        return cls(matrix[rows, columns], rows, starts, matrix.shape)


class Unsolved(Exception):
    """The solver ended without an optimum; the message is its own word for why."""


class Bounds(NamedTuple):
    """The range of every weight."""

    least: float
    most: float


class Equality(NamedTuple):
    """coefficients · w = value."""

    coefficients: Vector
    value: float


def least_variance(covariance: Matrix, bounds: Bounds, equalities: list[Equality]) -> Vector:
    """The w that minimises wᵀ·``covariance``·w within ``bounds`` under ``equalities``.

    Of several the most even one. Raises `Unsolved`.
    """
    for tolerance in _TOLERANCES:
        solution = _solver(covariance, bounds, equalities, _settings(tolerance)).solve()
        if solution.status == clarabel.SolverStatus.Solved:
            break
    # Where no variance is left the last digits are rounding, and "almost" is as good as it gets.
    if solution.status not in {clarabel.SolverStatus.Solved, clarabel.SolverStatus.AlmostSolved}:
        raise Unsolved(str(solution.status))
    return np.asarray(np.clip(solution.x, *bounds))


def _solver(
    covariance: Matrix, bounds: Bounds, equalities: list[Equality], settings: clarabel.DefaultSettings
) -> clarabel.DefaultSolver:
    size = len(covariance)
    # A mean variance of 1 makes the solver's absolute tolerances relative ones.
    scaled = covariance / (np.trace(covariance) / size or 1) + _RIDGE * np.eye(size)
    rows = [each.coefficients for each in equalities]
    limits = [each.value for each in equalities] + [bounds.most] * size + [-bounds.least] * size
    return clarabel.DefaultSolver(
        Columns.of(np.triu(scaled)),
        np.zeros(size),
        Columns.of(np.vstack([*rows, np.eye(size), -np.eye(size)])),
        np.array(limits),
        [clarabel.ZeroConeT(len(rows)), clarabel.NonnegativeConeT(2 * size)],
        settings,
    )


def _settings(tolerance: float) -> clarabel.DefaultSettings:
    settings = clarabel.DefaultSettings()
    settings.verbose, settings.max_threads = False, 1
    settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = tolerance
    settings.reduced_tol_gap_abs = settings.reduced_tol_gap_rel = settings.reduced_tol_feas = _ALMOST
    return settings
