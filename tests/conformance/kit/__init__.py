"""What the conformance tests are written with: stores to run on, values to submit, other processes."""
