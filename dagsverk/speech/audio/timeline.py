"""Time stamps of frames -> where silence belongs between them, so that times of a text are those of the film.

A gap in the stamps is time in which nothing was recorded or came through: it becomes silence. Sound is never
thrown away: where stamps overlap or go back (joined files, a clock that was set), it goes on. Light.
"""

from __future__ import annotations

GAP_S = 0.1  # stamps of live recordings jitter by less
BACK_S = 1.0  # stamps that go back further than this begin anew
SPLICE_S = 600.0  # in formats whose clock may jump, a jump of more is no gap: another recording was joined
STAMPED = frozenset(
    {"matroska", "mov", "mpegts", "mpeg", "ogg", "flv", "asf", "nut"}
)  # stamps are in the file


class Timeline:
    """The clock of one track.

    Args:
        origin_s: where the film starts, on the clock of the stamps; None: with this track.
        may_jump: whether the clock of the format may begin anew within a file (MPEG streams, Ogg).
    """

    def __init__(self, origin_s: float | None, *, may_jump: bool) -> None:
        self._origin_s, self._shift_s, self._may_jump = origin_s, 0.0, may_jump
        self.at_s = 0.0  # of the film, where the next frame would begin without a gap
        self.first_s = 0.0  # the stamp of the first frame
        self.lead_s = 0.0  # before it
        self.gaps_s: list[float] = []  # between frames

    def silence_before(self, stamp_s: float | None, length_s: float) -> float:
        """Seconds of silence that belong before a frame; its time is then counted.

        Args: stamp_s: its time stamp, where it has one. length_s: of the frame.
        """
        if stamp_s is not None and not self.at_s:
            self.first_s = stamp_s
            self._shift_s = -stamp_s if self._origin_s is None else -self._origin_s
        late_s = 0.0 if stamp_s is None else stamp_s + self._shift_s - self.at_s
        if late_s < -BACK_S or (self._may_jump and self.at_s and late_s > SPLICE_S):
            self._shift_s -= late_s
            late_s = 0.0
        silence_s = late_s if late_s > GAP_S else 0.0
        if not self.at_s:
            self.lead_s = silence_s
        elif silence_s:
            self.gaps_s.append(silence_s)
        self.at_s += silence_s + length_s
        return silence_s
