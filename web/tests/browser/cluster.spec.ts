// A cluster of three nodes in a real Prometheus: n1, n2, and one that was last seen twenty minutes ago.

import { accessible, column, control, expect, fits, rows, saved, test } from "./stage.ts"

/** A user whose name would end a string of PromQL. */
const EVIL = 'a"} or vector(1)#'
const VIEWS = ["/#/overview", "/#/overview?density=dense", "/#/sessions", "/#/users", "/#/idle", "/#/device?node=n1&gpu=0", "/#/user?user=alice"]

test("the overview has each node, and says which is old and which incomplete", async ({ page }) => {
  await page.goto("/")
  await expect(page.locator(".node-card")).toHaveCount(3)
  await expect(page.locator(".totals")).toContainText("3 Nodes")
  const gone = page.locator(".node-card", { hasText: "gone" })
  await expect(gone).toContainText("old")
  await expect(page.locator(".node-card", { hasText: "n2" })).toContainText("incomplete")
  await expect(page.getByRole("link", { name: /^n1 GPU 1: .*held idle 1 container/ })).toHaveClass(/held/)
  await page.getByLabel("State").selectOption("old")
  await expect(page.locator(".node-card")).toHaveCount(1)
  await page.getByLabel("State").selectOption("")
  await page.getByRole("searchbox").fill("alice")
  await expect(page.locator(".node-card")).toHaveCount(1)
  await page.getByRole("link", { name: /^n1 GPU 0: / }).click()
  await expect(page.getByRole("heading", { level: 1 })).toContainText("n1 / GPU 0")
})

test("the server searches and sorts, and the file has all that match", async ({ page }) => {
  await page.goto("/#/sessions?sort=command")
  await expect.poll(() => column(page, "Command")).toEqual(["python3", "sh", "stray"])
  await page.getByRole("button", { name: "Command" }).click()
  await expect.poll(() => column(page, "Command")).toEqual(["stray", "sh", "python3"])
  const lines = await saved(page)
  expect(lines).toHaveLength(4)
  expect(lines[0]).toMatch(/^node,gpu,user,/)
  await page.getByRole("searchbox").fill("train-0 alice")
  await expect.poll(() => column(page, "Command")).toEqual(["python3"])
  await page.goto("/#/sessions?user=")
  await expect.poll(() => column(page, "Command")).toEqual(["stray"])
})

test("who had a device is on its timeline", async ({ page }) => {
  await page.goto("/#/device?node=n1&gpu=0&since=6h")
  await expect(page.locator(".timeline a[aria-label*='train (12)']")).toHaveAttribute("aria-label", /User bob/)
  await expect(page.locator(".timeline a[aria-label*='python3 (10)'] .bar.open")).toHaveCount(1)
  await expect(page.getByRole("img", { name: /Utilisation: last 50%/ })).toBeVisible()
  await expect(rows(page)).toHaveCount(2)
})

test("users have what they used in the period", async ({ page }) => {
  await page.goto("/#/users?since=1h")
  await expect(page.getByRole("row", { name: /^alice/ })).toBeVisible()
  const users = await column(page, "User")
  const [held, worked, idle] = await Promise.all(["Held h", "SM h", "Held idle h"].map(async (name) => Number((await column(page, name))[users.indexOf("alice")])))
  // She held a GPU all the time, of which half did work, and a quarter is known to have done none.
  expect(held).toBeGreaterThan(0.9)
  expect((worked ?? 0) / (held ?? 1)).toBeCloseTo(0.5, 1)
  expect((idle ?? 0) / (held ?? 1)).toBeCloseTo(0.25, 1)
  await expect(page.getByRole("link", { name: EVIL })).toBeVisible()
  await page.getByRole("link", { name: EVIL }).click()
  await expect(page.getByRole("heading", { level: 1 })).toContainText(EVIL)
  await expect.poll(() => column(page, "Command")).toEqual(["sh"])
})

test("who holds a device and does nothing is first among the idle", async ({ page }) => {
  await page.goto("/#/idle")
  await expect.poll(() => column(page, "Idle for")).toEqual(["1h 30m"])
  await expect.poll(() => column(page, "User")).toEqual(["carol"])
  await page.getByLabel("Idle for at least").selectOption("6h")
  await expect(page.getByText("It is not known of each device which containers hold it.")).toBeVisible()
  await page.goto("/#/idle?node=n1&user=nobody")
  await expect(page.getByText("Nothing matches.")).toBeVisible()
})

for (const scheme of ["light", "dark"] as const) {
  test.describe(scheme, () => {
    test.use({ colorScheme: scheme })
    test(`no view has a serious fault when it is ${scheme}`, async ({ page }) => {
      for (const path of VIEWS) {
        await page.goto(path)
        await expect(page.locator(".fresh")).toContainText("as of")
        await expect(page.getByText("Loading…")).toHaveCount(0)
        await accessible(page, path)
      }
    })
  })
}

test("nothing sticks out on a phone", async ({ page }) => {
  await page.setViewportSize({ width: 360, height: 740 })
  for (const path of VIEWS) {
    await page.goto(path)
    await expect(page.getByText("Loading…")).toHaveCount(0)
    await fits(page, path)
  }
})

test.describe("without Prometheus", () => {
  test.use({ expected: /Failed to load resource/ })
  test("what was seen stays, and the page says since when", async ({ page }) => {
    await page.goto("/#/sessions")
    await expect(rows(page)).toHaveCount(3)
    await control("stop")
    await control("at/60")
    const banner = page.locator(".banner.bad")
    await expect(banner).toContainText("Prometheus could not be asked.", { timeout: 60_000 })
    await expect(banner).toContainText("What is here is of Jun 1, 2025, 00:00:00")
    await expect(rows(page)).toHaveCount(3)
    await control("start")
    await control("at/120")
    await expect(banner).toHaveCount(0, { timeout: 60_000 })
  })
})
