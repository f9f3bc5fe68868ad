/** `headwater tier verify` of a gateway: its catalog against its object store. */
import type { TierFinding, TierVerified } from "../native/client/tier-types.ts";
import { withGateway } from "./gateway.ts";
import { LineWriter, print } from "./output.ts";
import { formatBytes, formatCount, plural } from "./quantities.ts";
import { escapeControls } from "./table.ts";

/** What makes the exit code 1: records that cannot be had, or about which nothing can be said. */
const BAD: readonly TierFinding["kind"][] = ["hole", "damage", "unreachable"];

/** Prints what is found. Sets the exit code. */
export async function verifyGateway(
	address: string | undefined,
	{ deep, json }: { readonly deep: boolean; readonly json: boolean },
): Promise<void> {
	const writer = new LineWriter();
	const counts = { hole: 0, damage: 0, orphan: 0, foreign: 0, unreachable: 0 };
	const onTerminal = process.stderr.isTTY === true && !json;
	const hide = () => onTerminal && process.stderr.write("\r\x1b[K");
	let done: TierVerified;
	try {
		done = await withGateway(address, (client) =>
			client.tier.verify({
				deep,
				found: (finding) => {
					counts[finding.kind]++;
					hide();
					writer.line(json ? `${JSON.stringify(finding)}\n` : formatTierFinding(finding));
				},
				progress: ({ objects, bytes }) => {
					if (onTerminal) process.stderr.write(`\r${plural(objects, "object")}, ${formatBytes(bytes)}\x1b[K`);
				},
			}),
		);
	} finally {
		hide();
		await writer.end();
	}
	const isBad = BAD.some((kind) => counts[kind] > 0);
	await print(
		json ? `${JSON.stringify({ kind: "summary", deep, ...counts, ...done })}\n` : formatTierVerified(counts, done),
	);
	if (isBad) process.exitCode = 1;
}

export function formatTierFinding({ kind, object, what }: TierFinding): string {
	return `${kind}: ${object === "" ? "" : `${escapeControls(object)}: `}${escapeControls(what)}\n`;
}

export function formatTierVerified(
	counts: Readonly<Record<TierFinding["kind"], number>>,
	{ objects, bytes, ranges }: TierVerified,
): string {
	const sums = [
		plural(counts.hole, "hole"),
		plural(counts.damage, "damage"),
		plural(counts.orphan, "orphan"),
		`${formatCount(counts.foreign)} foreign`,
		`${formatCount(counts.unreachable)} not reached`,
	];
	const head =
		counts.hole + counts.damage > 0
			? "what is stored is NOT WHOLE"
			: counts.unreachable > 0
				? "not all could be looked at"
				: "what is stored is whole";
	return (
		`${head}: ${sums.join(", ")}\n` +
		`looked at ${plural(objects, "object")} of ${formatBytes(bytes)}, with ${plural(ranges, "range")}\n`
	);
}
