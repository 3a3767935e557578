from tests.runtime.study.conftest import bundle, dicom_study  # noqa: F401 - fixtures
