"""Whether this run may take hours: `SIGNOFF_NIGHTLY=1`."""

import os

IS_NIGHTLY = os.environ.get("SIGNOFF_NIGHTLY", "0") not in ("", "0")
