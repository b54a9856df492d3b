// A cluster of a thousand nodes, invented here: what is shown of it, and what is asked for.

import { clusterOf } from "../fixture/data.mjs"
import { testOf, type State } from "./invented.ts"
import { accessible, column, expect, rows, saved } from "./stage.ts"

const state: State = { cluster: clusterOf(1000, { per: 2.6, now: 1_700_000_000 }) }
const test = testOf(state)

test("only what is seen is there, and what is scrolled to comes", async ({ page }) => {
  const total = state.cluster.sessions.length
  expect(total).toBeGreaterThan(15_000)
  await page.goto("/#/sessions")
  const table = page.getByRole("table", { name: "Sessions" })
  await expect(table).toHaveAttribute("aria-rowcount", String(total + 1))
  expect(await rows(page).count()).toBeLessThan(80)
  const scroll = page.locator(".table-scroll")
  await scroll.evaluate((element) => element.scrollTo(0, element.scrollHeight))
  const last = table.locator(`tr[aria-rowindex="${total + 1}"]`)
  await expect(last).toContainText("gpu-1000")
  expect(await rows(page).count()).toBeLessThan(80)
  await scroll.evaluate((element) => element.scrollTo(0, element.scrollHeight / 2))
  await expect(table.locator(`tr[aria-rowindex="${Math.floor(total / 2)}"]`)).toContainText(/gpu-\d+/)
})

test("a look at the server moves nothing", async ({ page }) => {
  await page.clock.install()
  await page.goto("/#/sessions?sort=pid")
  const scroll = page.locator(".table-scroll")
  await expect(rows(page).first()).toContainText(/gpu-/)
  await scroll.evaluate((element) => element.scrollTo(0, 64_000))
  const at = page.locator('tr[aria-rowindex="2010"]')
  await expect(at).toContainText(/gpu-/)
  const before = await at.innerText()
  const asked = page.waitForRequest(/cluster\/sessions/)
  await page.clock.runFor(16_000)
  await asked
  // The pid and the name stay; how long it runs goes on.
  const [node = "", gpu = ""] = before.split(/\s+/)
  await expect(at).toContainText(node)
  await expect(at).toContainText(gpu)
  expect(await scroll.evaluate((element) => element.scrollTop)).toBe(64_000)
})

test("the nodes come as they are scrolled to, and a search narrows them", async ({ page }) => {
  await page.goto("/")
  await expect(page.getByText("Nodes: 1,000")).toBeVisible()
  expect(await page.locator(".node-card").count()).toBeLessThan(200)
  await page.locator(".nodes-scroll").evaluate((element) => element.scrollTo(0, element.scrollHeight))
  await expect(page.getByRole("link", { name: "gpu-1000", exact: true })).toBeVisible()
  await page.getByRole("searchbox").fill("gpu-0500")
  await expect(page.locator(".node-card")).toHaveCount(1)
  await page.getByRole("button", { name: "Detail" }).click()
  await expect(page).toHaveURL(/density=detail/)
})

test("the file has every row, not only those that are seen", async ({ page }) => {
  await page.goto("/#/idle?idle_for=0s")
  await expect(rows(page).first()).toContainText(/gpu-/)
  const wanted = state.cluster.allocations.filter((one: { sessions: number | null }) => one.sessions === 0).length
  expect(wanted).toBeGreaterThan(200)
  expect(await saved(page)).toHaveLength(wanted + 1)
})

test("the longest come first where a duration is sorted from its top", async ({ page }) => {
  await page.goto("/#/sessions")
  for (const [name, field] of [["Running for", "running_seconds"], ["Idle for", "idle_seconds"]] as const) {
    await page.getByRole("button", { name, exact: true }).click()
    await expect(page.getByRole("columnheader", { name })).toHaveAttribute("aria-sort", "descending")
    await expect(page).toHaveURL(new RegExp(`sort=-${field}`))
    await expect.poll(async () => (await column(page, name))[0]).toMatch(/^[4-6]d/)
  }
})

test("the bars of a timeline are one stop of the Tab key", async ({ page }) => {
  await page.goto("/#/device?node=gpu-0001&gpu=0")
  const stop = page.locator('.timeline a[tabindex="0"]')
  await expect(stop).toHaveCount(1)
  await stop.focus()
  const name = await stop.getAttribute("aria-label")
  await page.keyboard.press("ArrowRight")
  await expect(stop).toHaveCount(1)
  await expect(stop).toBeFocused()
  expect(await stop.getAttribute("aria-label")).not.toBe(name)
  await page.keyboard.press("Home")
  await expect(stop).toHaveAttribute("aria-label", name ?? "")
  await accessible(page, "a timeline")
})

test.describe("a server that refuses", () => {
  test.use({ expected: /Failed to load resource/ })
  test("is told in its words, and asked again", async ({ page }) => {
    state.refuse = "no credentials: log in first"
    await page.goto("/#/sessions")
    await expect(page.getByRole("alert").first()).toContainText("no credentials: log in first")
    delete state.refuse
    await page.clock.install()
    await page.reload()
    await expect(rows(page).first()).toContainText(/gpu-/)
    state.failure = "connection refused"
    await page.clock.runFor(16_000)
    await expect(page.locator(".banner.bad")).toContainText("connection refused")
    delete state.failure
    await page.clock.runFor(16_000)
    await expect(page.locator(".banner.bad")).toHaveCount(0)
  })
})
