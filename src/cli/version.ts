/** The version that package.json states; the build copies it in. */
import manifest from "../../package.json" with { type: "json" };

export const VERSION: string = manifest.version;
