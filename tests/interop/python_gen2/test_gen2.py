"""The quick start, as it stands, against `dev`."""

import quickstart


def test_quickstart(dev, org):
    quickstart.main(f"http://{dev.gateway}/api", org.key, org.projects[0], org.classes[0])
