"""Which tool a text calls for: a calibrated classifier, trained on the house's own examples.

scikit-learn is imported when a classifier is first wanted, so that importing the agents costs nothing.
"""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .cases import Example

REGULARISATION = 3.0
FOLDS = 5


@dataclass(frozen=True)
class Choice:
    """The tool that a text calls for, its calibrated probability, and the tools that came after it."""

    tool: str
    probability: float
    others: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class ToolClassifier:
    """A trained classifier, safe to ask from several threads; ``pipeline`` is scikit-learn's."""

    pipeline: Any

    def choose(self, text: str) -> Choice:
        """Return the likeliest tool for this text."""
        (tool, probability), *others = self.probabilities(text)
        return Choice(tool, probability, tuple(others))

    def probabilities(self, text: str) -> list[tuple[str, float]]:
        """Return every tool with its calibrated probability, likeliest first."""
        (row,) = self.pipeline.predict_proba([text])
        pairs = zip(self.pipeline.classes_, row, strict=True)
        return sorted(((str(tool), float(share)) for tool, share in pairs), key=lambda pair: -pair[1])


def train(examples: Sequence[Example]) -> ToolClassifier:
    """Train on word and character n-grams, with the confidence calibrated on held-out folds.

    Calibration is by temperature (Guo et al. 2017, "On Calibration of Modern Neural Networks"): one
    parameter, which is what a few dozen examples can bear.
    """
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold
    from sklearn.pipeline import make_pipeline, make_union

    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, strip_accents="unicode")
    letters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True, strip_accents="unicode")
    pipeline = CalibratedClassifierCV(
        make_pipeline(make_union(words, letters), LogisticRegression(C=REGULARISATION, max_iter=1000)),
        method="temperature",
        cv=StratifiedKFold(FOLDS, shuffle=True, random_state=0),
    )
    pipeline.fit([example.text for example in examples], [example.tool for example in examples])
    return ToolClassifier(pipeline)


def trained(agent: str, examples: Sequence[Example], *, folder: Path) -> ToolClassifier:
    """Return the classifier for these examples from the folder, training it where it is not there yet.

    The file is named by the examples, this module's text and scikit-learn's version, and it is put in place
    whole, so that a half-written or outdated one is never read.
    """
    import joblib
    import sklearn

    learnt_from = hashlib.sha256(repr(list(examples)).encode() + Path(__file__).read_bytes()).hexdigest()[:16]
    path = folder / f"{agent}-{learnt_from}-{sklearn.__version__}.joblib"
    if path.exists():
        return ToolClassifier(joblib.load(path))
    classifier = train(examples)
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(f".{os.getpid()}")
    joblib.dump(classifier.pipeline, unfinished)
    unfinished.replace(path)
    return classifier
