// Answers that do not come, are refused, or change while they are read: what is shown is what is known.

import type { Route } from "@playwright/test"
import { clusterOf } from "../fixture/data.mjs"
import { testOf, type State } from "./invented.ts"
import { column, expect, rows, saved } from "./stage.ts"

const NOW = 1_700_000_000
const state: State = { cluster: clusterOf(200, { per: 2.6, now: NOW }) }
const test = testOf(state)
const LIST = /\/api\/v1\/cluster\/sessions/
const refusal = (status: number, detail: string) => (route: Route) =>
  route.fulfill({ status, contentType: "application/problem+json", body: JSON.stringify({ title: "Refused", status, detail }) })

test.use({ expected: /Failed to load resource|net::ERR_/ })
test.afterEach(() => {
  state.cluster = clusterOf(200, { per: 2.6, now: NOW })
})

test("rows of the question before are marked, and do not stay under the next one", async ({ page }) => {
  await page.goto("/#/sessions?user=alice")
  await expect.poll(async () => new Set(await column(page, "User"))).toEqual(new Set(["alice"]))
  const file = page.getByRole("button", { name: "CSV" })
  const table = page.locator(".table")
  let answer = () => {}
  const held = new Promise<void>((resolve) => (answer = resolve))
  await page.route(LIST, (route) => held.then(() => route.continue()))
  await page.goto("/#/sessions?user=bob")
  await expect(table).toHaveAttribute("aria-busy", "true")
  await expect(file).toBeDisabled()
  answer()
  await expect(table).toHaveAttribute("aria-busy", "false")
  expect(new Set(await column(page, "User"))).toEqual(new Set(["bob"]))
  await expect(file).toBeEnabled()
  await page.unrouteAll()

  await page.route(LIST, (route) => route.abort())
  await page.goto("/#/sessions?user=carol")
  await expect(table.getByRole("alert")).toContainText("The server does not answer.")
  await expect(rows(page)).toHaveCount(0)
  await expect(file).toBeDisabled()
})

test("the file has each row once, of one look", async ({ page }) => {
  await page.goto("/#/sessions?sort=pid")
  await expect(rows(page).first()).toContainText(/gpu-/)
  const pids = state.cluster.sessions.map((one: { pid: number }) => one.pid)
  expect(pids.length).toBeGreaterThan(2000)
  const offsets: string[] = []
  await page.route(LIST, (route) => {
    const asked = new URL(route.request().url()).searchParams
    if (asked.get("limit") === "1000") {
      offsets.push(asked.get("offset") ?? "")
      // A look between the first page and the second, in which those that were first are gone.
      if (offsets.length === 2) {
        const sessions = [...state.cluster.sessions].sort((a: { pid: number }, b: { pid: number }) => a.pid - b.pid).slice(300)
        state.cluster = { ...state.cluster, now: NOW + 15, sessions }
      }
    }
    return route.continue()
  })
  const lines = await saved(page)
  expect(lines[0]).toMatch(/,start_time,idle_seconds$/)
  expect(offsets.filter((offset) => offset === "0")).toHaveLength(2)
  expect(lines).toHaveLength(pids.length - 300 + 1)
})

test("that nobody holds a device in vain is said only where it is known", async ({ page }) => {
  const nodes = (allocations: number | null) => [{ node: "n1", timestamp: NOW, old: false, driver_version: null, sources_down: [], devices: [{ gpu: "0", allocations, users: [] }] }]
  Object.assign(state.cluster, { allocations: [], nodes: nodes(0) })
  await page.goto("/#/idle")
  await expect(page.getByText("No container is known to have held a device without using it for 10m.")).toBeVisible()
  await page.getByLabel("Idle for at least").selectOption("0s")
  await expect(page.getByText("No container holds a device without using it.")).toBeVisible()
  await page.goto("/#/idle?user=nobody")
  await expect(page.getByText("Nothing matches.")).toBeVisible()
  await expect(page.getByRole("button", { name: "Remove the filter User" })).toBeVisible()
  Object.assign(state.cluster, { nodes: nodes(null) })
  await page.reload()
  await expect(page.getByText("It is not known of each device which containers hold it.")).toBeVisible()
})

test("a refresh that is refused is told above the rows, which stay", async ({ page }) => {
  await page.clock.install()
  await page.goto("/#/sessions")
  await expect(rows(page).first()).toContainText(/gpu-/)
  await page.route(/\/api\/v1\/cluster/, refusal(401, "your login has ended"))
  await page.clock.runFor(16_000)
  await expect(page.locator(".table-bar").getByRole("alert")).toContainText(/your login has ended · What is here is of Nov 14, 2023, 22:13:20/)
  await expect(page.locator(".banner.bad")).toContainText("The server refused. your login has ended")
  await expect(rows(page).first()).toContainText(/gpu-/)
  await page.unrouteAll()
  await page.clock.runFor(16_000)
  await expect(page.locator(".banner.bad")).toHaveCount(0)
  await expect(page.locator(".table-bar").getByRole("alert")).toHaveCount(0)
})

test("a node that takes no more viewers says so", async ({ page }) => {
  await page.route("**/api/v1/about", (route) => route.fulfill({ json: { schema_version: 1, version: "0", scope: "node", node: "n1", history: false } }))
  await page.route("**/api/v1/allocations*", (route) => route.fulfill({ json: { allocations: [] } }))
  await page.route("**/api/v1/stream", refusal(503, "32 streams are open: close one"))
  await page.goto("/#/user?user=alice")
  await expect(page.getByRole("alert")).toContainText("32 streams are open: close one")
  await expect(page.getByText("Sessions now")).toHaveCount(0)
})
