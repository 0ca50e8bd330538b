// One session: where the time of its turns went.
import { element } from "../shared/element.js";

export async function open(root, { api, params, setTitle }) {
  const record = await api.get(`/admin/v1/sessions/${encodeURIComponent(params.id)}/record`);
  setTitle(params.id);
  root.append(element("h1", { text: record.session.id }));
}
