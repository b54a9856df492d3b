// Names come from workloads. What would move, hide or reorder text is shown as what it is.

const CONTROL = /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u115f\u1160\u180e\u200b-\u200f\u2028-\u202f\u2060-\u206f\u3164\ufeff\ufff9-\ufffb]|[\u{e0000}-\u{e0fff}]/gu

/** The name with characters that cannot be seen written as \u{…}. */
export function visible(name: string): string {
  return name.replace(CONTROL, (c) => `\\u{${(c.codePointAt(0) ?? 0).toString(16)}}`)
}

/** Whether every word of the search is in one of the names, whatever its case. */
export function matches(search: string, names: (string | number | null | undefined)[]): boolean {
  const words = search.toLowerCase().split(/\s+/).filter(Boolean)
  if (words.length === 0) return true
  const all = names
    .filter((name) => name !== null && name !== undefined)
    .join("\n")
    .toLowerCase()
  return words.every((word) => all.includes(word))
}
