// Ways to use a page: with a mouse, and with nothing but a keyboard.
import assert from "node:assert/strict";

/// Clicks. Works where scripts are off, too.
export class Mouse {
  constructor(page) {
    this.page = page;
  }

  /// A link or a button: the first that is seen.
  control(name) {
    const of = (role) => this.page.getByRole(role, { name, exact: true });
    return of("button").or(of("link")).first();
  }

  field(label) {
    return this.page.getByLabel(label, { exact: true }).first();
  }

  async press(name) {
    await this.control(name).click();
  }

  async write(label, text) {
    await this.field(label).fill(text);
  }

  /// One of a list, or one of a few that are all seen.
  async choose(label, choice) {
    const list = this.page.getByRole("combobox", { name: label, exact: true });
    const one = this.page.getByRole("group", { name: label }).or(this.page.getByRole("radiogroup", { name: label }));
    if (await list.count()) await this.#pick(list, choice);
    else await one.getByLabel(choice, { exact: true }).check();
  }

  /// A list may be one to type into, with suggestions.
  async #pick(list, choice) {
    const isSelect = await list.evaluate((element) => element.tagName === "SELECT");
    await (isSelect ? list.selectOption(choice) : list.fill(choice));
  }
}

/// Tab, Enter, Space, arrows and letters. What has the focus must be seen to have it.
export class Keyboard extends Mouse {
  async press(name) {
    await this.#reach(this.control(name));
    await this.page.keyboard.press("Enter");
  }

  async write(label, text) {
    await this.#reach(this.field(label));
    // What stands in it goes.
    await this.page.keyboard.press("ControlOrMeta+A");
    await this.page.keyboard.press("Delete");
    await this.page.keyboard.type(text);
  }

  async choose(label, choice) {
    const list = this.page.getByRole("combobox", { name: label, exact: true });
    if (!(await list.count())) return this.#ofSeveral(label, choice);
    if (!(await list.evaluate((element) => element.tagName === "SELECT"))) return this.write(label, choice);
    await this.#reach(list);
    await this.page.keyboard.type(choice);
    const chosen = await list.evaluate(({ value, selectedOptions: [{ label }] }) => [value, label]);
    assert.ok(chosen.includes(choice), `${choice} is chosen by typing: ${chosen}`);
  }

  /// Radio buttons are one stop of Tab: arrows go on from the one that is chosen.
  async #ofSeveral(label, choice) {
    const group = this.page.getByRole("radiogroup", { name: label });
    const wanted = group.getByLabel(choice, { exact: true });
    await this.#reach(group.locator(":checked"));
    for (let step = 0; step < 10 && !(await wanted.isChecked()); step += 1) {
      await this.page.keyboard.press("ArrowDown");
    }
    assert.ok(await wanted.isChecked(), `${choice} is reached by arrows`);
  }

  /// Goes from stop to stop until it is there.
  async #reach(target) {
    await target.waitFor();
    for (let stop = 0; stop < 200; stop += 1) {
      if (await target.evaluate((element) => element === document.activeElement)) return;
      await this.page.keyboard.press("Tab");
      const unseen = await this.page.evaluate(focusIsUnseen);
      assert.equal(unseen, "", `at ${this.page.url()}, stop ${stop}`);
    }
    assert.fail(`${target} can't be reached by Tab at ${this.page.url()}`);
  }
}

/// In the page: what has the focus and is not seen to have it; else "".
function focusIsUnseen() {
  const element = document.activeElement;
  if (!element || element === document.body) return "";
  const { outlineStyle, outlineWidth } = getComputedStyle(element);
  const box = element.getBoundingClientRect();
  const isInView = box.width > 0 && box.height > 0 && box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth;
  const isMarked = outlineStyle !== "none" && parseFloat(outlineWidth) >= 2;
  return isInView && isMarked ? "" : element.outerHTML.slice(0, 200);
}
