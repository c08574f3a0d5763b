"""What another converter, hl7v2-fhir-bridge of PyPI, takes for the message on standard input, over and over.

Prints microseconds of processor time a message (read, converted, written as JSON), and how many resources and bytes it
becomes. The exit code is 3 where it is not installed. Run by `cargo bench -p transforms --bench peer`.
"""

import json
import sys
import time

try:
    from v2fhir.config import default_config_path, load_config
    from v2fhir.convert import convert
    from v2fhir.hl7.parser import parse_bytes
except ImportError:
    sys.exit(3)


def main() -> None:
    seconds = float(sys.argv[1])
    message = sys.stdin.buffer.read()
    config = load_config(default_config_path(), {})

    def once() -> tuple[int, int]:
        read = parse_bytes(message, config.default_charset, config.fallback_charsets)
        bundle = convert(read, config).bundle
        return len(bundle["entry"]), len(json.dumps(bundle))

    for _ in range(20):
        resources, size = once()
    count, began = 0, time.process_time()
    while time.process_time() - began < seconds:
        for _ in range(10):
            once()
        count += 10
    print((time.process_time() - began) * 1e6 / count, resources, size)


main()
