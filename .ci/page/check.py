"""Uses the page of two runs in Chromium: check.py PAGE ADDRESS SCREENSHOTS, as a file and from the server of `grpo view`."""

import importlib.util
import pathlib
import shutil
import sys

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

PAGE, ADDRESS, SCREENSHOTS = sys.argv[1:]
options = webdriver.ChromeOptions()
for argument in ["--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1300,1000"]:
    options.add_argument(argument)
options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))


def all_of(selector):
    return browser.find_elements(By.CSS_SELECTOR, selector)


def one(selector):
    return browser.find_element(By.CSS_SELECTOR, selector)


def until(condition, what):
    WebDriverWait(browser, 20).until(lambda _: condition(), what)


def found():
    return one("#found").text


AXE = pathlib.Path(importlib.util.find_spec("axe_playwright_python").origin).with_name("axe.min.js").read_text()
VIOLATIONS = """
axe.run().then(result => arguments[0](result.violations.map(v => `${v.id}: ${v.help}: ${v.nodes.slice(0, 3).map(n => n.html.slice(0, 200))}`)))
"""


def accessible(view):
    """What axe finds wrong with a view for people who use a screen reader or see little contrast, by day and by night."""
    browser.execute_script(AXE)
    for scheme in ["light", "dark"]:
        media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
        violations = browser.execute_async_script(VIOLATIONS)
        assert not violations, (view, scheme, violations)


def check(address, name):
    browser.get(address)
    until(lambda: one("html").get_attribute("data-ready"), "the page is not ready")
    # Curves: canvases that have been drawn on, both runs, and intervals of held-out problems.
    titles = [title.text for title in all_of("#charts h3")]
    for title in ["Reward", "correctness", "correctness, test problems", "Tokens per completion", "KL", "Seconds per step"]:
        assert title in titles, (title, titles)
    assert len(all_of("#charts canvas")) == len(titles)
    drawn = "return [...document.querySelectorAll('#charts canvas')].every(c => c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some(v => v))"
    assert browser.execute_script(drawn), "a chart is empty"
    browser.save_screenshot(f"{SCREENSHOTS}/{name}-curves.png")
    accessible("curves")
    all_of("#runs input")[1].click()
    until(lambda: "run1" not in one("#charts").text, "a hidden run is still drawn")
    all_of("#runs input")[1].click()
    # What is zoomed to stays when the curves are drawn again.
    limits = "return [plots[0].scales.x.min, plots[0].scales.x.max]"
    assert browser.execute_script(limits) == [1, 4]
    browser.execute_script("plots[0].setScale('x', { min: 2, max: 3 })")
    browser.execute_script("drawCurves()")
    until(lambda: browser.execute_script(limits) == [2, 3], "the zoom is lost")
    browser.execute_script("plots[0].setScale('x', { min: 1, max: 4 })")
    # Completions: a step, the next one by a key, one problem over all steps.
    one("#to-completions").click()
    until(lambda: found().startswith("Step 1 of 4: 3 problems, 24 completions"), "the first step is not shown")
    assert len(all_of("#groups article")) == 24
    browser.save_screenshot(f"{SCREENSHOTS}/{name}-completions.png")
    accessible("completions")
    # Tokens by what is recorded of them: together they are the text.
    texts = "return [...document.querySelectorAll('#groups article pre')].map(text => text.textContent)"
    plain = browser.execute_script(texts)
    for tint in ["logprob", "entropy", "advantage"]:
        Select(one("#tint")).select_by_value(tint)
        until(lambda: all_of("#groups article pre span[title]"), tint)
        assert browser.execute_script(texts) == plain, tint
        if tint == "advantage":
            assert all_of("#groups pre [class^=good]") and all_of("#groups pre [class^=bad]")
        else:
            assert all_of("#groups pre .shade1") and all_of("#groups pre .shade0")
        accessible(tint)
    browser.save_screenshot(f"{SCREENSHOTS}/{name}-tokens.png")
    Select(one("#tint")).select_by_value("none")
    until(lambda: not all_of("#groups article pre span[title]"), "tokens are still coloured")
    one("body").send_keys(Keys.ARROW_RIGHT)
    until(lambda: found().startswith("Step 2"), "the key does not go to the next step")
    browser.back()
    until(lambda: found().startswith("Step 1"), "Back does not go to the step before")
    browser.forward()
    until(lambda: found().startswith("Step 2"), "Forward does not undo Back")
    all_of("#groups .group .facts button")[0].click()
    until(lambda: "of 96 completions" in found(), "the problem is not shown over all steps")
    # Filters and search.
    for chosen, condition in [("+correctness", "correctness 2"), ("-correctness", "correctness 0")]:
        Select(one("#filter")).select_by_value(chosen)
        until(lambda: "of 96 completions" in found() and one("#filter").get_attribute("value") == chosen, chosen)
        until(lambda: all_of("#groups article"), chosen)
        assert all(condition in card.text for card in all_of("#groups article")), chosen
    Select(one("#filter")).select_by_value("step")
    one("#query").send_keys("<reasoning>")
    until(lambda: "contain the text" in found() and not found().startswith("0 "), "nothing is found")
    one("#query").clear()
    one("#query").send_keys("no such text is anywhere")
    until(lambda: found().startswith("0 of these 96 completions"), "something is found")
    one("#query").clear()
    one("#query").send_keys(Keys.SPACE, Keys.BACKSPACE)
    Select(one("#filter")).select_by_value("step")
    # Hostile texts are shown, and do nothing.
    Select(one("#run")).select_by_visible_text("run1")
    until(lambda: found().startswith("Step"), "the other run is not shown")
    while not found().startswith("Step 1"):
        step = found().split()[1]
        one("#previous").click()
        until(lambda: found().split()[1] != step, "there is no step before")
    text = one("#groups").text
    for shown in ["</script><script>document.title", "<img src=x onerror=", "⟨U+001B⟩[31mred", "⟨U+202E⟩backwards", "a⟨U+0000⟩b", "Show all 200000 characters"]:
        assert shown in text, shown
    assert browser.title == "GRPO runs", "a completion has run as a script"
    assert not all_of("#groups img") and not all_of("#groups script")
    width = browser.execute_script("return document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert width <= 0, f"the page is {width} pixels too wide"
    # Before and after: what was gained is wrong before and right after.
    one("#to-held-out").click()
    until(lambda: one("#changed").text.startswith("10 of 10 problems. Earned before and after: correctness "), "held-out problems are not shown")
    assert len(all_of("#pairs article")) == 20
    accessible("before and after")
    Select(one("#change")).select_by_value("+correctness")
    until(lambda: not one("#changed").text.startswith("10 of 10 problems."), "what was gained is not shown")
    for before, after in zip(all_of("#pairs article")[::2], all_of("#pairs article")[1::2]):
        assert "correctness 0" in before.text and "correctness 2" in after.text
    # Options: the runs differ in their seeds.
    one("#to-options").click()
    rows = [row.text for row in all_of("#tables tbody tr.differs")]
    assert rows == ["algorithm.seed 0 1"], rows
    accessible("options")
    # An address leads back to the same place, and a phone is wide enough.
    browser.set_window_size(500, 900)
    browser.get("about:blank")
    browser.get(f"{address}#view=completions&run=0&step=3")
    until(lambda: found().startswith("Step 3"), "the address is not followed")
    width = browser.execute_script("return document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert width <= 0, f"on a phone, the page is {width} pixels too wide"
    browser.set_window_size(1300, 1000)
    errors = [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert not errors, errors


check(PAGE, "file")
check(ADDRESS, "served")
browser.quit()
print("the page works as a file and from the server")
