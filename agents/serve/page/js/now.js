// The instant that figures are seen from: the one the page is held at, else the newest event time of the data.
import { instant } from "./address.js";
import { get } from "./api.js";
import { ms } from "./format.js";

export const now = async () => instant() ?? ms((await get("/pipeline", {}, { timeless: true })).frontier);
