// A node, live: the demo's, of which the test moves the clock.

import { at, column, expect, rows, saved, test } from "./stage.ts"

test("a session is there when it starts, and gone when it ends", async ({ page }) => {
  await page.goto("/#/sessions")
  await expect(rows(page)).toHaveCount(10)
  await expect(page.locator(".fresh")).toContainText("as of")
  await at(105)
  await expect(rows(page)).toHaveCount(11)
  await expect(page.getByRole("cell", { name: "33001" })).toBeVisible()
  await at(110)
  await expect(page.getByRole("cell", { name: "33001" })).toHaveCount(0)
  await expect(rows(page)).toHaveCount(10)
})

test("the overview shows each device, its instances by their share, and who is on it", async ({ page }) => {
  await page.goto("/")
  await expect(page.locator(".gpu-card")).toHaveCount(4)
  const slice = page.getByRole("link", { name: /^GPU 0_5_0: .*2g\.20gb.*Utilisation 88%.*bob/ })
  await expect(slice).toBeVisible()
  await expect(page.getByRole("link", { name: /^GPU 2: .*Utilisation 0%.*erin/ })).toBeVisible()
  const [large, small] = await Promise.all([
    page.getByRole("link", { name: /^GPU 0_1_0: / }).boundingBox(),
    page.getByRole("link", { name: /^GPU 0_10_0: / }).boundingBox(),
  ])
  expect((large?.width ?? 0) / (small?.width ?? 1)).toBeGreaterThan(2.4)
  await slice.hover()
  await expect(page.locator(".tooltip")).toContainText("17 GiB / 20 GiB")
  await slice.click()
  await expect(page).toHaveURL(/#\/device\?gpu=0_5_0$/)
  await expect(page.getByRole("heading", { name: "GPU 0_5_0" })).toBeVisible()
  await expect(rows(page)).toHaveCount(1)
})

test("what is held and idle is told apart from what is free", async ({ page }) => {
  await page.goto("/")
  const instance = page.getByRole("link", { name: /^GPU 0_10_0: / })
  await expect(instance).toHaveClass(/free/)
  await at(150)
  // The pod holds it from the second minute on; its process comes in the twelfth.
  await expect(instance).toHaveClass(/held/)
  await expect(instance).toContainText("held idle 1 container")
  // Idle since it was first seen: that takes a second sample.
  await at(155)
  await page.goto("/#/idle")
  await expect(rows(page)).toHaveCount(0)
  await page.getByLabel("Idle for at least").selectOption("0s")
  await expect(page.getByRole("cell", { name: "dave-eval" })).toBeVisible()
})

test("rows are sorted by a head, with what is unknown last", async ({ page }) => {
  await page.goto("/#/sessions")
  await page.getByRole("button", { name: "Memory", exact: true }).click()
  await expect(page.getByRole("columnheader", { name: "Memory" })).toHaveAttribute("aria-sort", "descending")
  await expect.poll(async () => (await column(page, "Memory"))[0]).toBe("71 GiB")
  await page.getByRole("button", { name: "Memory", exact: true }).click()
  await expect(page.getByRole("columnheader", { name: "Memory" })).toHaveAttribute("aria-sort", "ascending")
  await expect.poll(async () => (await column(page, "Memory")).at(-1)).toBe("71 GiB")
  await expect(page).toHaveURL(/sort=memory_used_bytes/)
  for (const sort of ["sm_utilization_ratio", "-sm_utilization_ratio"]) {
    await page.goto(`/#/sessions?sort=${sort}`)
    await expect.poll(async () => (await column(page, "SM")).at(-1)).toBe("–")
  }
})

test("a search narrows the rows, and a link has it", async ({ page }) => {
  await page.goto("/#/sessions")
  await expect(rows(page)).toHaveCount(10)
  await page.keyboard.press("/")
  await page.keyboard.type("alice triton")
  await expect(rows(page)).toHaveCount(1)
  await expect(page).toHaveURL(/search=alice\+triton/)
  await page.getByRole("searchbox").fill("nobody at all")
  await expect(page.getByText("Nothing matches.")).toBeVisible()

  await page.goto("/#/sessions?user=alice&sort=-sm_utilization_ratio")
  await expect(rows(page)).toHaveCount(3)
  expect(new Set(await column(page, "User"))).toEqual(new Set(["alice"]))
  await page.getByRole("link", { name: "Users" }).click()
  await expect(page.getByRole("table", { name: "Users" })).toBeVisible()
  await page.goBack()
  await expect(page).toHaveURL(/#\/sessions\?.*user=alice/)
  await expect(rows(page)).toHaveCount(3)
  await page.getByRole("button", { name: "Remove the filter User" }).click()
  await expect(rows(page)).toHaveCount(10)
})

test("the details of a session are all that is known", async ({ page }) => {
  await page.goto("/#/sessions?gpu=3")
  await page.getByRole("button", { name: "pt_main_thread" }).click()
  const dialog = page.getByRole("dialog")
  await expect(dialog).toContainText("annotation:creator-user-name")
  await expect(dialog).toContainText("GPU-d0e1a000-0000-4000-8000-000000000003")
  await page.keyboard.press("Escape")
  await expect(dialog).toHaveCount(0)
})

test("the file has every row that matches, and no more", async ({ page }) => {
  await page.goto("/#/sessions?user=alice")
  await expect(rows(page)).toHaveCount(3)
  const lines = await saved(page)
  expect(lines[0]).toBe("gpu,user,pod,container,command,pid,memory_used_bytes,sm_utilization_ratio,memory_busy_ratio,start_time,last_active_time")
  expect(lines).toHaveLength(4)
  expect(lines[1]).toMatch(/^0_1_0,alice,team-vision\/alice-serving,server,tritonserver,21010,15032385536,/)
})

test("a period shows who was there", async ({ page }) => {
  for (let minute = 3; minute <= 24; minute++) await at(60 * minute)
  await page.goto("/#/sessions")
  await expect(page.getByRole("cell", { name: "32077" })).toHaveCount(0)
  await page.getByLabel("Period").selectOption("1h")
  await expect(page).toHaveURL(/since=1h/)
  await expect(page.getByRole("cell", { name: "32077" })).toBeVisible()

  await page.goto("/#/device?gpu=1&since=1h")
  await expect(page.locator(".timeline a[aria-label*='blender (32077)']")).toHaveCount(1)
  await expect(page.locator(".timeline a .bar.open")).not.toHaveCount(0)

  await page.goto("/#/users?since=1h")
  await expect(page.getByRole("row", { name: /^erin/ })).toBeVisible()
  const hours = await column(page, "Session h")
  expect(hours.some((text) => /[1-9]/.test(text)), hours.join()).toBe(true)

  // Before there was anything.
  await page.goto("/#/sessions")
  await page.getByLabel("Period").selectOption("custom")
  await page.getByLabel("From", { exact: true }).fill("2020-01-01T00:00")
  await page.getByLabel("To", { exact: true }).fill("2019-01-01T00:00")
  await page.getByRole("button", { name: "Apply" }).click()
  await expect(page.getByRole("alert")).toContainText("begin")
  await page.getByLabel("To", { exact: true }).fill("2020-01-02T00:00")
  await page.getByRole("button", { name: "Apply" }).click()
  await expect(page).toHaveURL(/since=2020-01-01T00%3A00Z&until=2020-01-02T00%3A00Z/)
  await expect(page.getByText("Nothing here.")).toBeVisible()
})
