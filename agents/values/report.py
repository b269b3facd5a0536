"""All measures of one fitted Q in one place, as numbers for a file and as a few lines of text."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from convgym.agents.values import diagnostics as measure
from convgym.agents.values.diagnostics import (
    BestOfN,
    Calibration,
    Correlation,
    QError,
    Shuffle,
    Spread,
)
from convgym.datafiles import plain
from convgym.errors import ConvgymError
from convgym.statistics import nan_mean

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class QReport:
    """What a Q_hat is worth against branched true values; the parts are explained where they are.

    Calibration, AUC and loss are of single rollouts, the rest of true values.
    """

    states: int
    responses: int
    """Per state."""
    rollouts: int
    """Per response."""
    calibration: Calibration
    auc: float
    loss: float
    """Cross-entropy, nats."""
    constant_loss: float
    """The same for the mean outcome."""
    q_r2: float
    """Share of the variance of true Q that Q_hat explains, sampling error taken out."""
    v_r2: float
    """The same for V_hat, which says one thing of all responses to a state."""
    true_spread: Spread
    fitted_spread: Spread
    """Of Q_hat, which has no sampling error."""
    pearson: Correlation
    spearman: Correlation
    kendall: Correlation
    sign_agreement: float
    """Of A_hat = Q_hat - V_hat with true A; chance level 1/2."""
    weighted_sign_agreement: float
    error: QError
    best_of_n: BestOfN
    length_correlation: float
    """Of Q_hat and the responses' length, within states; NaN if no lengths were given."""
    shuffle: Shuffle | None
    """The action-shuffle test, if it was made."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers, lists and dicts, fit for JSON; None for what is not a number."""
        numbers: dict[str, Any] = plain(asdict(self))
        return numbers

    def __str__(self) -> str:
        true, fitted, error, best = (
            self.true_spread,
            self.fitted_spread,
            self.error,
            self.best_of_n,
        )
        lines = [
            f"{self.states} states x {self.responses} responses x {self.rollouts} rollouts",
            f"outcomes      loss {self.loss:.3f} (constant {self.constant_loss:.3f}), AUC "
            f"{self.auc:.3f}, calibration error {self.calibration.expected_error:.3f} "
            f"(chance {self.calibration.expected_noise:.3f})",
            f"R2            Q {self.q_r2:.3f}, V alone {self.v_r2:.3f}",
            f"sd across     true {true.across:.3f}, fitted {fitted.across:.3f}",
            f"sd within     true {true.within:.3f}, fitted {fitted.within:.3f}",
            *(
                f"{name:13} {correlation.observed:.3f} within states, corrected "
                f"{correlation.corrected:.3f} "
                f"(reliability {correlation.reliability:.3f}, {correlation.states} states)"
                for name, correlation in (
                    ("pearson", self.pearson),
                    ("spearman", self.spearman),
                    ("kendall", self.kendall),
                )
            ),
            f"sign of A     {self.sign_agreement:.1%} right, weighted "
            f"{self.weighted_sign_agreement:.1%} (chance 50%)",
            f"|Q error|     max {error.max:.3f}, 95% {error.p95:.3f}, rms {error.rmse:.3f}",
            f"  by chance   max {error.noise_max:.3f}, 95% {error.noise_p95:.3f}, "
            f"rms {error.noise_rmse:.3f}",
            f"best of {self.responses:<5} {best.gain:+.3f} (se {best.se:.3f}), by true Q at least "
            f"{best.headroom:+.3f}",
        ]
        if not math.isnan(self.length_correlation):
            lines.append(f"length        spearman {self.length_correlation:.3f} within states")
        if self.shuffle:
            lines.append(
                f"shuffling     responses raises the loss by {self.shuffle.rise:.4f} "
                f"from {self.shuffle.loss:.4f}"
            )
        return "\n".join(lines)


def q_report(
    q_hat: ArrayLike,
    q_returns: ArrayLike,
    *,
    v_hat: ArrayLike | None = None,
    v_returns: ArrayLike | None = None,
    lengths: ArrayLike | None = None,
    shuffle: Shuffle | None = None,
    seed: int = 0,
) -> QReport:
    """Measure a fitted Q against branched true values (``true_values.branch``).

    States of which a response or the value has less than two rollouts without failure are left out.

    Args:
        q_hat: (S, K) fitted Q of K responses to each of S states.
        q_returns: (S, K, R) returns of R rollouts of each, NaN for failures.
        v_hat: (S,) fitted V; None for the mean of ``q_hat`` over the responses.
        v_returns: (S, Rv) returns where the policy chose the response; None for the mean of true Q
            over the responses.
        lengths: (S, K) of the responses, in tokens or words.
        shuffle: result of ``diagnostics.action_shuffle``.
        seed: of random splits and draws.

    Raises:
        ConvgymError: for shapes that do not fit together, fewer than 2 states or responses, or a
            Q_hat that is not finite.
    """
    predicted, returns = np.asarray(q_hat, float), np.asarray(q_returns, float)
    v_fitted = predicted.mean(1) if v_hat is None else np.asarray(v_hat, float)
    v_rolled = None if v_returns is None else np.asarray(v_returns, float)
    sizes = None if lengths is None else np.asarray(lengths, float)
    _check(predicted, returns, v_fitted, v_returns=v_rolled, lengths=sizes)

    kept = _known(returns, v_rolled)
    predicted, returns, v_fitted = predicted[kept], returns[kept], v_fitted[kept]
    if len(predicted) < 2 or predicted.shape[1] < 2:
        raise ConvgymError(
            "a report needs at least 2 states and 2 responses, with 2 rollouts each that did not "
            f"fail; got {len(predicted)} such states and {predicted.shape[1]} responses"
        )
    q = nan_mean(returns)
    v = q.mean(1) if v_rolled is None else nan_mean(v_rolled[kept])
    known = np.isfinite(returns)
    single = np.broadcast_to(predicted[:, :, None], returns.shape)[known]
    outcomes = returns[known]
    fitted, true = predicted - v_fitted[:, None], q - v[:, None]
    return QReport(
        states=len(predicted),
        responses=predicted.shape[1],
        rollouts=returns.shape[2],
        calibration=measure.calibration(single, outcomes),
        auc=measure.auc(single, outcomes),
        loss=measure.log_loss(single, outcomes),
        constant_loss=measure.constant_loss(outcomes),
        q_r2=measure.explained(predicted, returns),
        v_r2=measure.explained(v_fitted[:, None], returns),
        true_spread=measure.spread(returns),
        # Exact values are returns without noise: two equal rollouts.
        fitted_spread=measure.spread(np.repeat(predicted[:, :, None], 2, axis=2)),
        pearson=measure.within_state_correlation(predicted, returns, "pearson", seed=seed),
        spearman=measure.within_state_correlation(predicted, returns, "spearman", seed=seed),
        kendall=measure.within_state_correlation(predicted, returns, "kendall", seed=seed),
        sign_agreement=measure.sign_agreement(fitted, true),
        weighted_sign_agreement=measure.sign_agreement(fitted, true, weighted=True),
        error=measure.q_error(predicted, returns, seed=seed),
        best_of_n=measure.best_of_n(predicted, returns, seed=seed),
        length_correlation=(
            math.nan if sizes is None else measure.length_correlation(predicted, sizes[kept])
        ),
        shuffle=shuffle,
    )


def _check(predicted: Array, returns: Array, v_fitted: Array, **others: Array | None) -> None:
    """Raise ConvgymError for shapes that do not fit together, or a fit that is not finite.

    Beside predictions (S, K), returns (S, K, R) and V (S,) there are ``v_returns`` (S, ...) and
    ``lengths`` (S, K), or None.
    """
    if returns.ndim != 3 or predicted.shape != returns.shape[:2]:
        raise ConvgymError(
            "expected q_hat (S, K) and q_returns (S, K, R), got shapes "
            f"{predicted.shape} and {returns.shape}"
        )
    for name, values in {"v_hat": v_fitted, **others}.items():
        shape = predicted.shape if name == "lengths" else predicted.shape[:1]
        if values is not None and values.shape[: len(shape)] != shape:
            raise ConvgymError(f"expected {name} of shape {shape}, got {values.shape}")
    if not (np.isfinite(predicted).all() and np.isfinite(v_fitted).all()):
        raise ConvgymError("q_hat and v_hat must be finite numbers, got NaN or infinity")


def _known(returns: Array, v_returns: Array | None) -> NDArray[np.bool_]:
    """Return of which states (S,) every response, and the value, has two rollouts at least."""
    known: NDArray[np.bool_] = (np.isfinite(returns).sum(-1) >= 2).all(1)
    if v_returns is not None:
        known &= np.isfinite(v_returns).sum(-1) >= 2
    return known
