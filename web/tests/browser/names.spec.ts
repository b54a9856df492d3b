// Names that a workload chose stay text.

import { expect, rows, saved, test } from "./stage.ts"

const IMAGE = "<img src=x onerror=alert(1)>"
const SCRIPT = "<script>alert(1)</script>"
/** As the agent hands on what turns text around. */
const PATHS = ["/", "/#/sessions", "/#/users", "/#/idle?idle_for=0s", "/#/device?gpu=0", "/#/sessions?since=1h"]

// A GPU of such a name is none: the server says so.
test.use({ expected: /400 \(Bad Request\)/ })

test("markup in a name is text in every view", async ({ page }) => {
  const requests: string[] = []
  page.on("request", (request) => requests.push(new URL(request.url()).pathname))
  for (const path of PATHS) {
    await page.goto(path)
    await expect(page.locator(".fresh")).toContainText("as of")
    await expect(page.locator("main").getByText(SCRIPT).filter({ visible: true }).first()).toBeVisible()
    await expect(page.locator("main img, main script")).toHaveCount(0)
  }
  await page.goto("/#/sessions")
  await page.getByRole("button", { name: IMAGE }).click()
  await expect(page.getByRole("dialog")).toContainText(IMAGE)
  await page.keyboard.press("Escape")
  await page.getByRole("link", { name: SCRIPT }).first().click()
  await expect(page.getByRole("heading", { level: 1 })).toContainText(SCRIPT)
  await expect(rows(page)).toHaveCount(1)
  await expect(page).toHaveTitle(/GPU sessions/)
  expect(requests.filter((path) => !/^\/$|^\/page\/|^\/api\/v1\/|^\/readyz$/.test(path))).toEqual([])
})

test("a fragment cannot bring anything in", async ({ page }) => {
  await page.goto(`/#/device?gpu=${encodeURIComponent(IMAGE)}`)
  await expect(page.getByRole("heading", { level: 1 })).toContainText(IMAGE)
  await page.goto(`/#/user?user=${encodeURIComponent(SCRIPT + "\u202e")}`)
  await expect(page.getByRole("heading", { level: 1 })).toContainText(`${SCRIPT}\\u{202e}`)
  await page.goto("/#/sessions?search=%00%1b[2J&sort=constructor")
  await expect(page.locator(".fresh")).toContainText("as of")
})

test("no cell of the file is a formula", async ({ page }) => {
  await page.goto("/#/sessions")
  await expect(rows(page)).toHaveCount(4)
  const lines = await saved(page)
  expect(lines.some((line) => line.includes(",'=1+1,")), lines.join("\n")).toBe(true)
  expect(lines.some((line) => /(^|,)"?[=+@-](?!\d)/.test(line)), lines.join("\n")).toBe(false)
})
