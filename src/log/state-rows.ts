/** Goes through rows of the state table in key order, a page at a time: what is set or deleted meanwhile may be among them or not. */
import type { StateRow } from "../catalog/catalog.ts";
import { keyBehind } from "./key-order.ts";

/** What it needs of the log. */
export interface StatePages {
	pageState(space: number, from: string, to: string | undefined, limit: number): StateRow[];
}

const PAGE_ROWS = 256;

/** Pages of the rows with keys from `from` on and before `to` (undefined: to the end); none is empty. `firstRows`: of the first, where few are looked for. */
export function* statePages(
	log: StatePages,
	space: number,
	from: string,
	to: string | undefined,
	firstRows = PAGE_ROWS,
): Generator<readonly StateRow[]> {
	for (let next = from, limit = firstRows; ; limit = PAGE_ROWS) {
		const page = log.pageState(space, next, to, limit);
		if (page.length > 0) yield page;
		const last = page.at(-1);
		if (last === undefined || page.length < limit) return;
		next = keyBehind(last[0]);
	}
}

/** As `statePages`, row by row. */
export function* stateRows(...of: Parameters<typeof statePages>): Generator<StateRow> {
	for (const page of statePages(...of)) yield* page;
}
