// The stream of a node: how old what it tells is, and when it is open.

import type { Page } from "@playwright/test"
import { DEVICE, nodeOf, nodeServer, SESSION, tell } from "../fixture/node.mjs"
import { servedBy } from "./invented.ts"
import { expect, rows } from "./stage.ts"

const AT = 1_700_000_000
const sample = (timestamp: number, now: number) => ["sample", { timestamp, now, sources: [] }]
const first = (now: number) => [["device", DEVICE], ["session", SESSION], sample(AT + 100, now)]
const node = nodeOf(first(AT + 101))
const test = servedBy(nodeServer(node))

test.beforeEach(() => {
  node.first = first(AT + 101)
})

/** Lets the page believe that it is seen, or not. */
const see = (page: Page, state: "visible" | "hidden") =>
  page.evaluate((state) => {
    Object.defineProperty(document, "visibilityState", { configurable: true, get: () => state })
    document.dispatchEvent(new Event("visibilitychange"))
  }, state)

test("a sample is as old as the server says, however often it is told", async ({ page }) => {
  node.first = first(AT + 400)
  await page.goto("/#/sessions")
  await expect(rows(page)).toHaveCount(1)
  await expect(page.locator(".fresh")).toContainText(/5m( \d+s)? ago/)
  await expect(page.locator(".banner.bad")).toContainText("No new sample has come.")
  tell(node, [sample(AT + 405, AT + 405)])
  await expect(page.locator(".banner.bad")).toHaveCount(0)
})

test("a page that nobody sees has no stream, and is told anew when it is seen", async ({ page }) => {
  await page.clock.install()
  await page.goto("/#/sessions")
  await expect(rows(page)).toHaveCount(1)
  await expect.poll(() => node.streams.size).toBe(1)
  await see(page, "hidden")
  await page.clock.runFor(6_000)
  await expect.poll(() => node.streams.size).toBe(0)
  const opened = node.opened
  await page.clock.runFor(120_000)
  expect(node.opened).toBe(opened)
  node.first = [["device", DEVICE], sample(AT + 300, AT + 300)]
  await see(page, "visible")
  await expect(rows(page)).toHaveCount(0)
  expect(node.streams.size).toBe(1)
})

test("a stream of which nothing comes is opened anew", async ({ page }) => {
  await page.clock.install()
  await page.goto("/#/sessions")
  await expect(rows(page)).toHaveCount(1)
  const opened = node.opened
  await page.clock.runFor(125_000)
  await expect.poll(() => node.opened).toBeGreaterThan(opened)
  await expect.poll(() => node.streams.size).toBe(1)
})

test("open details go along, and say when the session is gone", async ({ page }) => {
  await page.goto("/#/sessions")
  await page.getByRole("button", { name: "train" }).click()
  const dialog = page.getByRole("dialog")
  await expect(dialog).toContainText("8 GiB")
  await expect.poll(() => node.streams.size).toBe(1)
  tell(node, [["session", { ...SESSION, memory_used_bytes: 2 ** 34 }], sample(AT + 105, AT + 105)])
  await expect(dialog).toContainText("16 GiB")
  tell(node, [["session_ended", { session: "s1", gpu: "0" }], sample(AT + 110, AT + 110)])
  await expect(dialog).toContainText(/It is no longer listed.*22:15:05/)
  await expect(dialog).toContainText("16 GiB")
})

test("what is not known of a node is no 0", async ({ page }) => {
  node.first = [["device", { ...DEVICE, sessions: null, users: null, unattributed: null }], sample(AT + 100, AT + 101)]
  await page.goto("/#/user?user=alice")
  await expect(page.getByRole("region", { name: "Now" }).locator("dd").first()).toHaveText("–")
  await page.goto("/#/idle")
  await expect(page.getByText("It is not known of each device which containers hold it.")).toBeVisible()
})
