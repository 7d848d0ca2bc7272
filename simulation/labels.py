"""The gate: labels measured in the stored audio against the ones that were asked for."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Tolerance:
    """How far a measured label may lie from the requested one: absolute plus a share of the request."""

    absolute: float = 0.0
    relative: float = 0.0

    def allows(self, requested: float, measured: float) -> bool:
        return abs(measured - requested) <= self.absolute + self.relative * abs(requested)


RESIDUAL_LIMIT_DB = -60.0

# Labels that are held to their request; all others are information.
TOLERANCES = {
    "snr_db": Tolerance(absolute=0.1),
    "sir_db": Tolerance(absolute=0.1),
    "rt60_s": Tolerance(absolute=0.02, relative=0.2),
    "lag_samples": Tolerance(),
    "room_lag_samples": Tolerance(),
    "ser_db": Tolerance(absolute=0.1),
    "enr_db": Tolerance(absolute=0.1),
    "reference_snr_db": Tolerance(absolute=0.1),
    "echo_delay_samples": Tolerance(absolute=1),
    "echo_absent": Tolerance(),
    "enrolment_snr_db": Tolerance(absolute=0.1),
    "wind_snr_db": Tolerance(absolute=0.1),
    "gain_db": Tolerance(absolute=0.05),
    "bandwidth_hz": Tolerance(relative=0.25),
    "lost_share": Tolerance(absolute=0.02),
    "clipped_share": Tolerance(absolute=0.02),
    "level_db": Tolerance(absolute=0.2),
    "overlap_share": Tolerance(absolute=0.05),
    "pitch_shift_semitones": Tolerance(absolute=0.5),
    "formant_ratio": Tolerance(absolute=0.08),
    "lag_ms": Tolerance(absolute=10.0),
    "level_difference_db": Tolerance(absolute=0.2),
    "unchanged_share": Tolerance(),
    "join_click_db": Tolerance(absolute=10.0),
    "event_snr_db": Tolerance(absolute=0.1),
    "event_change_db": Tolerance(absolute=0.1),
    "event_moved_samples": Tolerance(),
    "speed_ratio": Tolerance(relative=0.15),
    "order_share": Tolerance(),
}


def tolerance_of(label: str) -> Tolerance | None:
    """The tolerance of a label; numbered ones such as `sir2_db` share that of `sir_db`."""
    return TOLERANCES.get("".join(c for c in label if not c.isdigit()) if label not in TOLERANCES else label)


def disagreements(requested: dict[str, float], measured: dict[str, float]) -> list[str]:
    """One line for each label that misses its request, is not there, or breaks a fixed limit; empty if all is well."""
    found = []
    for label, wanted in requested.items():
        tolerance = tolerance_of(label)
        if label not in measured:
            found.append(f"{label}: {wanted} requested, not measured")
        elif tolerance and not tolerance.allows(wanted, measured[label]):
            found.append(f"{label}: {wanted} requested, {measured[label]} measured")
    residual = measured.get("stem_residual_db")
    if residual is not None and residual > RESIDUAL_LIMIT_DB:
        found.append(f"stem_residual_db: {residual}, above {RESIDUAL_LIMIT_DB}: the mixture is not the sum of its stems")
    return found
