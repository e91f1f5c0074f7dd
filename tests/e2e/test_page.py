#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The page at /: what a browser gets, by itself and whole; what all others get."""

import base64
import hashlib
import html.parser
import pathlib
import re

import mp_http
import mp_tap
from mp_daemon import Daemon, wait_until
from mp_http import Http

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
VOID = {"meta", "link", "br", "hr", "img", "input"}


class Strict(html.parser.HTMLParser):
    """Refuses what is not closed in its order, and gathers ids, texts by id, links and attributes."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.ids, self.attributes, self.texts = [], [], [], {}
        self.feed(text)
        self.close()
        if self.open:
            raise AssertionError(f"never closed: {self.open}")

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.attributes.append((tag, attrs))
        if "id" in attrs:
            self.ids.append(attrs["id"])
        if tag not in VOID:
            self.open.append((tag, attrs.get("id")))

    def handle_endtag(self, tag):
        if not self.open or self.open.pop()[0] != tag:
            raise AssertionError(f"</{tag}> closes nothing, at {self.getpos()}")

    def handle_data(self, data):
        for _, id_ in self.open:
            if id_:
                self.texts[id_] = self.texts.get(id_, "") + data


class Page(mp_http.Served):
    def page(self, http=None):
        answer = (http or self.http).get("/", Accept=BROWSER)
        self.assertEqual((answer.status, answer["Content-Type"]), (200, "text/html; charset=utf-8"))
        return answer, Strict(answer.text)

    def test_who_does_not_ask_for_html_gets_the_list_of_paths(self):
        for accept in (None, "*/*", "text/plain", "application/json, */*;q=0.5", "text/html;q=0, */*",
                       "text/plain, text/html;q=0.9", "text/*"):
            answer = self.http.get("/", **({"Accept": accept} if accept else {}))
            self.assertEqual(answer["Content-Type"], "text/plain; charset=utf-8", accept)
            self.assertIn("GET    /v1/status", answer.text)
            self.assertEqual(answer["Vary"], "Accept")
        self.assertEqual(self.http.get("/?x=1", Accept=BROWSER).status, 400)
        head = self.http("HEAD", "/", Accept=BROWSER)
        self.assertEqual((head.body, head["Content-Type"]), (b"", "text/html; charset=utf-8"))

    def test_the_page_is_well_formed_and_has_each_name_once(self):
        answer, page = self.page()
        self.assertTrue(answer.text.startswith("<!DOCTYPE html>"))
        self.assertNotIn("{{", answer.text)
        self.assertEqual(len(page.ids), len(set(page.ids)))
        used = set(re.findall(r'\b(?:at|say)\("(\w+)"', answer.text))
        self.assertEqual(used - set(page.ids), set())

    def test_only_what_stands_in_the_page_is_run_and_nothing_is_loaded(self):
        answer, page = self.page()
        policy = dict(part.strip().split(" ", 1) for part in answer["Content-Security-Policy"].split(";"))
        self.assertEqual(policy["default-src"], "'none'")
        self.assertEqual({policy[name] for name in ("base-uri", "form-action", "frame-ancestors")}, {"'none'"})
        self.assertEqual((policy["connect-src"], policy["img-src"]), ("'self'", "data:"))
        for element in ("style", "script"):
            found = re.findall(rf"<{element}>(.*?)</{element}>", answer.text, re.S)
            self.assertEqual(len(found), 1)
            digest = base64.b64encode(hashlib.sha256(found[0].encode()).digest()).decode()
            self.assertEqual(policy[element + "-src"], f"'sha256-{digest}'")
        for tag, attributes in page.attributes:
            self.assertFalse([name for name in attributes if name.startswith("on") or name == "style"], tag)
            self.assertNotIn("src", attributes)
            if tag == "a":  # from where it stands, also behind a proxy with a path of its own
                self.assertNotRegex(attributes["href"], r"^(/|\w+:)")
        self.assertNotRegex(answer.text, r"https?://")
        self.assertEqual((answer["X-Content-Type-Options"], answer["Referrer-Policy"], answer["Cache-Control"]),
                         ("nosniff", "no-referrer", "no-store"))

    def test_its_links_lead_somewhere(self):
        _, page = self.page()
        links = [attributes["href"] for tag, attributes in page.attributes if tag == "a"]
        self.assertGreaterEqual(len(links), 5)
        for link in links:
            self.assertEqual(self.http.get("/" + link).status, 200, link)

    def test_it_says_the_state_without_its_script(self):
        self.http.put("/v1/config/default/seen", "1")
        self.http.get("/v1/config/default/seen")
        _, page = self.page()
        status = self.http.get("/v1/status").json
        self.assertEqual(page.texts["state"], "live")
        self.assertEqual(page.texts["keys"], str(status["origin"]["keys"]))
        self.assertEqual(page.texts["revision"], str(status["origin"]["revision"]))
        self.assertEqual(page.texts["oldest"], "fresh")
        self.assertRegex(page.texts["ratio"], r"^\d+\.\d %$")
        self.assertIn("origin-live: open at revision 0", page.texts["events"])

    def test_an_origin_that_is_gone_is_told_with_the_age_of_answers(self):
        daemon = Daemon().start()
        self.addCleanup(daemon.close)
        http = Http(daemon.http)
        self.addCleanup(http.close)
        (daemon.data / "origin.db").rename(daemon.data / "away")
        wait_until(lambda: http.get("/v1/status").json["origin"]["unverified_ms"] >= 1000)
        _, page = self.page(http)
        status = http.get("/v1/status").json
        self.assertEqual((page.texts["state"], page.texts["trouble"]), ("lost", status["trouble"]))
        self.assertRegex(page.texts["oldest"], r"^\d+ s$")

    def test_what_others_named_is_text_and_no_markup(self):
        daemon = Daemon()
        folder = pathlib.Path(daemon.folder, "conf", "production")
        folder.mkdir(parents=True)
        (folder / "a<b>&\"'.yaml").write_text("broken: [1,\n")
        daemon.start("--set", "origin.type=file", "--set", f"origin.path={folder.parent}")
        self.addCleanup(daemon.close)
        http = Http(daemon.http)
        self.addCleanup(http.close)
        answer, page = self.page(http)
        self.assertIn("a&lt;b&gt;&amp;&quot;&#39;.yaml", answer.text)
        self.assertNotIn("a<b>", answer.text)
        self.assertIn("a<b>&\"'.yaml", page.texts["events"])


if __name__ == "__main__":
    mp_tap.main()
