import { computed, signal } from "@preact/signals"
import { remembered, remember } from "../lib/memory.ts"
import { en, type Messages } from "./en.ts"
import { ko } from "./ko.ts"

export type { Messages }
export const LANGUAGES = { en: "English", ko: "한국어" } as const
export type Language = keyof typeof LANGUAGES

const tables: Record<Language, Messages> = { en, ko }

/** The first language of the reader's that there is. */
export function chosen(wanted: readonly string[]): Language {
  for (const name of wanted) {
    const base = name.toLowerCase().split("-")[0]
    if (base === "en" || base === "ko") return base
  }
  return "en"
}

const kept = remembered("language")
export const language = signal<Language>(kept === "en" || kept === "ko" ? kept : chosen(navigator.languages))
export const messages = computed<Messages>(() => tables[language.value])

export function speak(next: Language): void {
  language.value = next
  remember("language", next)
}
