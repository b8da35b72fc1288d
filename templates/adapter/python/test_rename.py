"""Tests of what changes between the versions."""

import unittest

import rename


class Renames(unittest.TestCase):
    def test_paths_and_bodies_change_there_and_back(self):
        self.assertEqual(rename.target("/v1/items/7?full=1", 1, 2), "/v2/items/7?full=1")
        self.assertEqual(rename.body(b'{"id":7,"colour":"red"}', 1, 2), b'{"id":7,"tint":"red"}')
        self.assertEqual(rename.body(b'{"id":7,"tint":"red"}', 2, 1), b'{"id":7,"colour":"red"}')

    def test_what_the_other_version_cannot_say_is_refused(self):
        for call in [
            lambda: rename.target("/v2/items/7", 1, 2),
            lambda: rename.body(b'{"tint":"red"}', 1, 2),
            lambda: rename.body(b"[]", 1, 2),
            lambda: rename.body(b"no", 1, 2),
        ]:
            self.assertRaises(rename.Refused, call)


if __name__ == "__main__":
    unittest.main()
