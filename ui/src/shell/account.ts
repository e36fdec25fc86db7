import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useNavigate } from "react-router";
import { rememberCsrf } from "../api/client";
import { change } from "../api/queries";
import { tell } from "../parts/tell";

export function useSignOut() {
  const client = useQueryClient();
  const navigate = useNavigate();
  return useMutation({
    mutationFn: change.signOut,
    onSuccess: async () => {
      rememberCsrf(null);
      await navigate("/sign-in");
      client.clear();
    },
    onError: tell.failed("Could not sign out"),
  });
}
