// Each view for everybody: languages, themes, keyboards, screen readers, phones.

import { accessible, expect, fits, rows, test, VIEWS } from "./stage.ts"

const ALL = [...VIEWS.map((view) => `/#/${view}`), "/#/device?gpu=1", "/#/device?gpu=0", "/#/user?user=alice", "/#/sessions?since=1h", "/#/sessions?user=alice&gpu=1"]

for (const scheme of ["light", "dark"] as const) {
  test.describe(scheme, () => {
    test.use({ colorScheme: scheme })
    test(`no view has a serious fault when it is ${scheme}`, async ({ page }) => {
      for (const path of ALL) {
        await page.goto(path)
        await expect(page.locator("html")).toHaveAttribute("data-theme", scheme)
        await expect(page.locator(".fresh")).toContainText("as of")
        await accessible(page, path)
      }
      await page.goto("/#/sessions")
      await page.getByRole("button", { name: "tritonserver" }).click()
      await expect(page.getByRole("dialog")).toBeVisible()
      await accessible(page, "details")
    })
  })
}

test.describe("a phone", () => {
  test.use({ viewport: { width: 360, height: 740 }, hasTouch: true })
  test("nothing sticks out", async ({ page }) => {
    for (const path of ALL) {
      await page.goto(path)
      await expect(page.locator(".fresh")).toContainText("as of")
      await fits(page, path)
    }
    await page.goto("/#/sessions")
    await expect(page.getByRole("columnheader")).toHaveText([/GPU/, /User/, /Command/])
    await page.getByRole("button", { name: "tritonserver" }).click()
    await expect(page.getByRole("dialog")).toContainText("21010")
    await fits(page, "details")
  })
})

test.describe("in Korean", () => {
  test.use({ locale: "ko-KR" })
  test("the page speaks the language of its reader, and remembers another", async ({ page }) => {
    await page.goto("/")
    await expect(page.locator("html")).toHaveAttribute("lang", "ko")
    const tabs = page.getByRole("navigation").getByRole("link")
    await expect(tabs).toHaveText(["개요", "세션", "사용자", "유휴"])
    await expect(page.locator(".fresh")).toContainText(/기준, \d+초 전/)
    await accessible(page, "in Korean")
    await page.getByLabel("언어").selectOption("en")
    await expect(tabs).toHaveText(["Overview", "Sessions", "Users", "Idle"])
    await page.reload()
    await expect(tabs).toHaveText(["Overview", "Sessions", "Users", "Idle"])
  })
})

test("a theme is remembered", async ({ page }) => {
  await page.goto("/")
  await page.getByLabel("Theme").selectOption("dark")
  await expect(page.locator("html")).toHaveAttribute("data-theme", "dark")
  await page.reload()
  await expect(page.locator("html")).toHaveAttribute("data-theme", "dark")
})

test("the keyboard reaches everything", async ({ page }) => {
  await page.goto("/#/sessions")
  await expect(rows(page)).toHaveCount(10)
  await page.keyboard.press("Tab")
  await expect(page.getByRole("link", { name: "Skip to the content" })).toBeFocused()
  await page.keyboard.press("Enter")
  await expect(page.locator("#main")).toBeFocused()
  await expect(page).toHaveURL(/#\/sessions$/)
  await page.getByRole("button", { name: "PID" }).focus()
  await page.keyboard.press("Enter")
  await expect(page.getByRole("columnheader", { name: "PID" })).toHaveAttribute("aria-sort", "descending")
  await page.goto("/")
  await page.getByRole("link", { name: /^GPU 3: / }).focus()
  await expect(page.locator(".tooltip")).toContainText("frank")
  await page.keyboard.press("Escape")
  await expect(page.locator(".tooltip")).toHaveCount(0)
  await page.keyboard.press("Enter")
  await expect(page.getByRole("heading", { name: "GPU 3" })).toBeVisible()
})

test("whoever has no JavaScript is told where else to look", async ({ browser, baseURL }) => {
  const context = await browser.newContext({ javaScriptEnabled: false, baseURL: baseURL ?? "" })
  const page = await context.newPage()
  await page.goto("/")
  for (const name of ["/metrics", "/api/v1", "/healthz", "/readyz"]) await expect(page.locator("noscript li", { hasText: name })).toBeVisible()
  await context.close()
})
