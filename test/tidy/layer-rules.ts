/**
 * Rules about imports: which layer may use which, which package has one door into the code, no
 * cycles. Each takes the tree and returns what is wrong, a line each; an empty list is a pass.
 */
import { importsOf, resolveImport, type SourceFile } from "./source.ts";

interface Layer {
	/** The longest folder that fits a file names its layer. */
	readonly folder: string;
	/** What may be imported beside the layer itself. */
	readonly may: readonly string[];
	/** What may be imported only as types. */
	readonly mayAsTypes?: readonly string[];
}

const BELOW_DOORS = ["src/broker", "src/log", "src/catalog", "src/record", "src/base"];
const door = (folder: string): Layer => ({ folder, may: BELOW_DOORS, mayAsTypes: ["src/config"] });

/** ARCHITECTURE.md draws this; a door never knows another door. */
export const LAYERS: readonly Layer[] = [
	{ folder: "src/base", may: [] },
	{ folder: "src/config", may: ["src/base"] },
	{ folder: "src/record", may: ["src/base"] },
	// The catalog is one of the log's checkpoints: the log writes it, it knows nothing of the log.
	{ folder: "src/log", may: ["src/catalog", "src/record", "src/base"], mayAsTypes: ["src/config"] },
	{ folder: "src/catalog", may: ["src/record", "src/base"], mayAsTypes: ["src/config"] },
	{ folder: "src/broker", may: ["src/log", "src/catalog", "src/record", "src/base"], mayAsTypes: ["src/config"] },
	door("src/native"),
	{ folder: "src/kafka", may: [...BELOW_DOORS, "src/kafka/protocol"], mayAsTypes: ["src/config"] },
	// One definition of Kafka's messages for the door here and for the client of a cluster elsewhere.
	{ folder: "src/kafka/protocol", may: ["src/base"] },
	door("src/admin"),
	door("bridge/mqtt"),
	{ folder: "bridge/upstream", may: [...BELOW_DOORS, "src/kafka/protocol"], mayAsTypes: ["src/config"] },
	door("tiering"),
	// The client goes into other people's programs: it brings nothing of the gateway with it.
	{ folder: "src/native/client", may: ["src/native/codec", "src/base"] },
	{ folder: "src/cli", may: ["src", "bridge", "tiering"] },
	{ folder: "src/main.ts", may: ["src", "bridge", "tiering"] },
	// The simulator judges the gateway: it shares no code with what it judges.
	{ folder: "device-sim", may: ["src/native/client", "src/base"] },
];

const SOURCE_ROOTS = ["src", "bridge", "tiering", "device-sim"];

/** Module -> the only files that may import it. */
export const GATES: ReadonlyMap<string, readonly string[]> = new Map([
	["fs", ["src/base/disk.ts"]],
	["fs/promises", []],
	["better-sqlite3", ["src/catalog/database.ts"]],
	["minio", ["tiering/s3.ts"]],
]);

const isUnder = (file: string, folder: string): boolean => file === folder || file.startsWith(`${folder}/`);
const isSource = (file: SourceFile): boolean =>
	/\.ts$/.test(file.path) && SOURCE_ROOTS.some((root) => isUnder(file.path, root));

function layerOf(file: string): Layer | undefined {
	return LAYERS.filter((layer) => isUnder(file, layer.folder)).sort((a, b) => b.folder.length - a.folder.length)[0];
}

export function checkLayers(files: readonly SourceFile[]): string[] {
	const problems: string[] = [];
	for (const file of files.filter(isSource)) {
		const layer = layerOf(file.path);
		if (layer === undefined) {
			problems.push(`${file.path}: belongs to no layer; name it in test/tidy/layer-rules.ts`);
			continue;
		}
		for (const { specifier, typeOnly, line } of importsOf(file)) {
			const target = resolveImport(file, specifier);
			if (target === undefined || isUnder(target, "package.json")) continue;
			// A folder's own files, its subfolders' too, but not the other way round past a layer of its own.
			const allowed = [layer.folder, ...layer.may, ...(typeOnly ? (layer.mayAsTypes ?? []) : [])];
			if (!allowed.some((folder) => isUnder(target, folder))) {
				problems.push(`${file.path}:${line}: ${layer.folder} may not import ${target}${typeOnly ? " (type)" : ""}`);
			}
		}
	}
	return problems;
}

export function checkGates(files: readonly SourceFile[]): string[] {
	const problems: string[] = [];
	for (const file of files.filter(isSource)) {
		for (const { specifier, line } of importsOf(file)) {
			const users = GATES.get(specifier.replace(/^node:/, ""));
			if (users === undefined || users.includes(file.path)) continue;
			problems.push(`${file.path}:${line}: ${specifier} is imported only by ${users.join(", ") || "no file"}`);
		}
	}
	return problems;
}

/** Cycles among the imports that exist at run time, each told once, from its first file by name. */
export function checkCycles(files: readonly SourceFile[]): string[] {
	const graph = new Map<string, string[]>();
	for (const file of files.filter(isSource)) {
		const targets = importsOf(file)
			.filter((one) => !one.typeOnly)
			.map((one) => resolveImport(file, one.specifier))
			.filter((target) => target !== undefined);
		graph.set(file.path, targets);
	}
	const problems: string[] = [];
	const done = new Set<string>();
	const trail: string[] = [];
	const visit = (node: string): void => {
		const at = trail.indexOf(node);
		if (at >= 0) {
			problems.push(`import cycle: ${[...trail.slice(at), node].join(" -> ")}`);
			return;
		}
		if (done.has(node)) return;
		trail.push(node);
		for (const target of graph.get(node) ?? []) visit(target);
		trail.pop();
		done.add(node);
	};
	for (const node of [...graph.keys()].sort()) visit(node);
	return problems;
}
