"""The version of the package, without a look-up of installed distributions."""

VERSION = "0.1.0"
