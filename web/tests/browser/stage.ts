// What each test of the page has: the page watched for what it must never do, and the control of the simulated node.

import AxeBuilder from "@axe-core/playwright"
import { expect, test as base, type Page } from "@playwright/test"
import { readFile } from "node:fs/promises"

export const VIEWS = ["overview", "sessions", "users", "idle"] as const

interface Watch {
  /** Errors in the console that the test brings about. */
  expected: RegExp | null
  watched: void
}

export const test = base.extend<Watch>({
  expected: [null, { option: true }],
  watched: [
    async ({ page, baseURL, expected }, use) => {
      const faults: string[] = []
      page.on("console", (message) => {
        const text = message.text()
        if (message.type() === "error" && !expected?.test(text)) faults.push(`console: ${text}`)
      })
      page.on("pageerror", (error) => faults.push(`error: ${error.stack ?? error.message}`))
      page.on("dialog", (dialog) => {
        faults.push(`dialog: ${dialog.message()}`)
        void dialog.dismiss()
      })
      page.on("request", (request) => {
        const url = new URL(request.url())
        if (/^https?:$/.test(url.protocol) && url.origin !== new URL(baseURL ?? "").origin) faults.push(`request: ${url.href}`)
      })
      await use()
      expect(faults).toEqual([])
    },
    { auto: true },
  ],
})

export { expect }

/** Tells the simulated node something, and waits until it is so. */
export async function control(path: string): Promise<void> {
  const response = await fetch(`${process.env["PAGE_CONTROL"]}/${path}`)
  expect(response.status, await response.text()).toBe(200)
}

/** Moves the node to so many seconds, up to its sample of them. */
export const at = (seconds: number): Promise<void> => control(`at/${seconds}`)

export const rows = (page: Page) => page.locator(".table tbody tr:not(.space)")

/** The text of a column, from the top. */
export async function column(page: Page, name: string): Promise<string[]> {
  const heads = (await page.locator(".table thead th").allInnerTexts()).map((text) => text.replace(/[▲▼\s]+$/, "").trim())
  const index = heads.indexOf(name)
  expect(index, `${name} is among ${heads.join(", ")}`).toBeGreaterThanOrEqual(0)
  return (await page.locator(`.table tbody tr:not(.space) td:nth-child(${index + 1})`).allInnerTexts()).map((text) => text.trim())
}

/** What the CSV of the table has, as lines. */
export async function saved(page: Page): Promise<string[]> {
  const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "CSV" }).click()])
  const text = await readFile(await download.path(), "utf8")
  expect(text.startsWith("\ufeff"), "a mark for spreadsheets").toBe(true)
  return text.slice(1).split("\r\n").slice(0, -1)
}

/** That the page has no serious fault for those who do not see it, or see it otherwise. */
export async function accessible(page: Page, where: string): Promise<void> {
  const { violations } = await new AxeBuilder({ page }).analyze()
  const grave = violations.filter(({ impact }) => impact === "serious" || impact === "critical")
  const said = grave.map(({ id, nodes }) => `${id}: ${nodes.map(({ html, failureSummary }) => `${html} ${failureSummary}`).join("\n")}`)
  expect(said, where).toEqual([])
}

/** That nothing sticks out to the side. */
export async function fits(page: Page, where: string): Promise<void> {
  const over = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)
  expect(over, `${where} sticks out`).toBeLessThanOrEqual(0)
  const main = await page.evaluate(() => {
    const element = document.querySelector("main")
    return element ? element.scrollWidth - element.clientWidth : 0
  })
  expect(main, `${where} sticks out of its view`).toBeLessThanOrEqual(0)
}
