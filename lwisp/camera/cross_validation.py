"""Cross-validation of a camera's look: fitted to some photos, measured on others.

Every look that was fitted is kept in the run folder and found there again.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from lwisp.camera import look
from lwisp.camera.cache import cache_path, read_tensors, write_tensors
from lwisp.camera.look import FittedLook
from lwisp.camera.photos import PreparedPair
from lwisp.camera.settings import LookFit, ValidationSettings
from lwisp.files.tensors import digest_of
from lwisp.imaging.tensors import to_bytes
from lwisp.model import Look


class Outlier(NamedTuple):
    """A photo that the others contradict."""

    photo: PreparedPair
    error: float
    """Mean dE2000 by the look that the others give."""
    median: float
    """Of all photos, dE2000."""


@dataclass(frozen=True)
class CrossValidation:
    """The photos of one camera and picture style, and the run folder in which fitted looks are kept."""

    photos: tuple[PreparedPair, ...]
    run: Path
    look_fit: LookFit = LookFit()
    settings: ValidationSettings = ValidationSettings()

    @property
    def folds(self) -> list[tuple[PreparedPair, ...]]:
        """The photos in parts that are held out together; every photo is in exactly one."""
        count = min(len(self.photos), self.settings.folds)
        return [self.photos[index::count] for index in range(count)]

    def without(self, held_out: Sequence[PreparedPair]) -> list[PreparedPair]:
        """The photos that are left to fit to."""
        return [photo for photo in self.photos if all(photo is not other for other in held_out)]

    def fit(self, photos: Sequence[PreparedPair], shading: bool) -> FittedLook:
        """`look.fit` of some photos, read from the run folder where it was fitted before.

        Args:
            photos: Fitted to, some of all.
            shading: Whether lens shading is fitted too.
        """
        samples = [photo.samples for photo in photos]
        digests = [digest_of(to_bytes(part.tensors())) for part in samples]
        path = cache_path(self.run, "look", self.look_fit, shading, *digests)
        kept = read_tensors(path)
        if kept is None:
            fitted = look.fit(samples, shading, settings=self.look_fit)
            kept = {**fitted.look.state_dict(), "shading": torch.tensor(fitted.shading, dtype=torch.float64)}
            write_tensors(path, kept)
        terms = kept.pop("shading")
        learned = Look(self.look_fit.channels)
        learned.load_state_dict(kept)
        return FittedLook(learned.eval().requires_grad_(False), look.round_terms(terms))

    def errors(self, shading: bool) -> list[float]:
        """Mean CIE dE2000 of every photo, by the look that was fitted without it.

        Args:
            shading: Whether lens shading is fitted too.

        Returns:
            One value for each photo, in their order.
        """
        errors: dict[str, float] = {}
        for fold in self.folds:
            fitted = self.fit(self.without(fold), shading)
            for photo in fold:
                errors[photo.sha256] = fitted.error(photo.samples)
        return [errors[photo.sha256] for photo in self.photos]

    def outlier(self) -> Outlier | None:
        """The photo that the others contradict most; None where all agree, or are too few to tell."""
        if len(self.photos) < self.settings.outlier_among:
            return None
        errors = self.errors(shading=False)
        median = float(np.median(errors))
        worst = int(np.argmax(errors))
        if errors[worst] < max(self.settings.outlier, self.settings.outlier_ratio * median):
            return None
        return Outlier(self.photos[worst], errors[worst], median)

    def without_outliers(self) -> tuple["CrossValidation", list[Outlier]]:
        """The cross-validation of the photos that agree, and the outliers, found one after another."""
        validation = self
        outliers = []
        while (outlier := validation.outlier()) is not None:
            outliers.append(outlier)
            validation = replace(validation, photos=tuple(validation.without([outlier.photo])))
        return validation, outliers

    def prefers_shading(self) -> bool:
        """Whether held-out photos come nearer to the camera's with a correction of lens shading."""
        with_shading = float(np.mean(self.errors(True)))
        plain = float(np.mean(self.errors(False)))
        return with_shading < plain - self.settings.min_gain

    def learning_curve(self, shading: bool) -> list[tuple[int, float]]:
        """Mean dE2000 of held-out photos by the number of photos that were fitted to.

        Args:
            shading: Whether lens shading is fitted too.

        Returns:
            Numbers of photos (1, 2, 4, ... and all but one), each with the mean over random subsets of that size and
            over all photos outside of them.
        """
        total = len(self.photos)
        doublings = [2**power for power in range(1, 8) if 2**power < total - 1]
        curve = []
        for count in sorted({1, *doublings, total - 1}):
            errors = []
            for draw in range(min(self.settings.draws, total)):
                order = np.random.default_rng(draw).permutation(total)
                subset = [self.photos[index] for index in sorted(order[:count])]
                fitted = self.fit(subset, shading)
                errors += [fitted.error(photo.samples) for photo in self.without(subset)]
            curve.append((count, float(np.mean(errors))))
        return curve
