// A server that goes away, and comes back.

import { accessible, at, control, expect, rows, test } from "./stage.ts"

test.use({ expected: /Failed to load resource|net::ERR_/ })

test("the page says since when its data is, and goes on by itself", async ({ page }) => {
  await page.goto("/#/sessions")
  await expect(rows(page)).toHaveCount(10)
  const banner = page.locator(".banner.bad")
  await expect(banner).toHaveCount(0)
  await control("stop")
  await expect(banner).toContainText("The agent does not answer.")
  await expect(banner).toContainText(/What is here is of Nov 14, 2023, 22:14:20/)
  await expect(page.locator("main")).toHaveClass(/stale/)
  await expect(rows(page)).toHaveCount(10)
  await accessible(page, "away")
  await control("start")
  await at(105)
  await expect(banner).toHaveCount(0)
  await expect(rows(page)).toHaveCount(11)
  await expect(page.locator("main")).not.toHaveClass(/stale/)
})

test("a page that is opened while there is no data says so", async ({ page }) => {
  await page.goto("/#/sessions")
  await expect(rows(page)).toHaveCount(11)
  await page.route("**/api/v1/about", (route) => route.fulfill({
    status: 403, contentType: "application/problem+json", body: JSON.stringify({ title: "Forbidden", status: 403, detail: "this machine only: set basic_auth_users" }),
  }))
  await page.reload()
  await expect(page.getByRole("alert")).toContainText("set basic_auth_users")
  await page.unroute("**/api/v1/about")
  await expect(rows(page)).toHaveCount(11)
})
