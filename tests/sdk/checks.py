"""What the scripts of all SDKs share: a counted check, and a picture of one pixel in base64."""

import sys

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
_passed = 0


def check(condition, what):
    """Ends the script where the condition does not hold."""
    global _passed
    if not condition:
        fail(what)
    _passed += 1


def fail(what):
    sys.exit(f"failed: {what}")


def report(sdk, version):
    print(f"{sdk} {version}: {_passed} checks passed")
