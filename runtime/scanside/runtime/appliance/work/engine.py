"""The bundle with its networks, kept open from job to job while it is the same."""

from collections.abc import Callable
from pathlib import Path

from scanside.runtime.bundle import Bundle, open_bundle
from scanside.runtime.options import Options
from scanside.runtime.study.pipeline import StudyRunner
from scanside.runtime.trust import Trust, judge


class Engine:
    """Opens bundles that are trusted, and their runners; holds one runner."""

    def __init__(self, options: Options, trust: Trust) -> None:
        self.options, self._trust = options, trust
        self._runner: StudyRunner | None = None

    def bundle(self, path: Path) -> Bundle:
        """Open a bundle. One that has been replaced in its place is noticed.

        Raises:
            BundleError: If it is damaged, or not trusted.
        """
        opened = open_bundle(path)
        judge(opened, self._trust)
        held = self._runner.bundle if self._runner is not None else None
        if held is not None and (held.path, held.sha256) == (opened.path, opened.sha256):
            return held
        return opened

    def runner(self, bundle: Bundle, say: Callable[[str], None]) -> StudyRunner:
        """The networks of a bundle, opened where they are not.

        Raises:
            BundleError: If the bundle is damaged.
            BackendError: If the device does not open.
        """
        if self._runner is None or self._runner.bundle is not bundle:
            self.close()
            self._runner = StudyRunner(bundle, self.options, say)
        return self._runner

    def close(self) -> None:
        """Free the networks: after a failure the next job starts from nothing."""
        runner, self._runner = self._runner, None
        if runner is not None:
            runner.close()
